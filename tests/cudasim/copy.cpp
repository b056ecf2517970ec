/* Copies and fills. Pinned memory is read and written when a copy's turn comes, other host memory
 * before the call returns (CUDA Runtime API, "API synchronization behavior"). */
#include "access.h"

namespace cudasim
{

/* claimed: which of them is pinned memory with a claim, or NULL. */
static void copy(void *to, const void *from, size_t bytes, const void *claimed)
{
    if (claimed)
        open_pinned(claimed, bytes);
    bool to_device = kind_of(to) == memory_kind::DEVICE;
    bool from_device = kind_of(from) == memory_kind::DEVICE;
    memmove(to_device ? host_view(to) : to, from_device ? host_view(from) : from, bytes);
    if (claimed)
        release_pinned(claimed, bytes);
    if (to_device && from_device)
        copy_marks(to, from, bytes);
    else if (to_device)
        mark_set(to, bytes);
    else if (from_device)
        require_set(from, bytes, "cudaMemcpy's source");
}

static enum cudaMemcpyKind check_copy(const char *call, void *to, const void *from, size_t bytes,
                                      enum cudaMemcpyKind kind)
{
    catch_faults();
    std::string target = std::string(call) + "'s target", source = std::string(call) + "'s source";
    bool to_device = kind_of(to) == memory_kind::DEVICE;
    bool from_device = kind_of(from) == memory_kind::DEVICE;
    if (kind == cudaMemcpyDefault)
        kind = to_device ? from_device ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice
                         : (from_device ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
    if (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice)
        require_device(to, bytes, target.c_str());
    else
        require_host(to, target.c_str());
    if (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice)
        require_device(from, bytes, source.c_str());
    else
        require_host(from, source.c_str());
    return kind;
}

} // namespace cudasim

using namespace cudasim;

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    if (bytes == 0)
        return device_status();
    kind = check_copy("cudaMemcpyAsync", to, from, bytes, kind);
    if (fails(FAIL_MEMCPY))
        return set_error(cudaErrorIllegalAddress);
    bool from_pageable = kind_of(from) == memory_kind::PAGEABLE;
    if (kind == cudaMemcpyHostToDevice && from_pageable) {
        auto bytes_now = std::make_shared<std::string>((const char *)from, bytes);
        enqueue(stream, [=] { copy(to, bytes_now->data(), bytes, nullptr); });
        return device_status();
    }
    bool to_pinned = kind_of(to) == memory_kind::PINNED;
    const void *host = kind == cudaMemcpyHostToDevice ? from : to_pinned ? to : nullptr;
    if (host)
        claim_pinned(host, bytes, to_pinned);
    enqueue(stream, [=] { copy(to, from, bytes, host); });
    if (kind == cudaMemcpyHostToHost || kind_of(to) == memory_kind::PAGEABLE)
        wait_for_stream(stream);
    return device_status();
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    if (bytes == 0)
        return device_status();
    check_copy("cudaMemcpy", to, from, bytes, kind);
    if (fails(FAIL_MEMCPY))
        return set_error(cudaErrorIllegalAddress);
    enqueue(nullptr, [=] { copy(to, from, bytes, nullptr); });
    wait_for_stream(nullptr);
    return device_status();
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream)
{
    if (bytes == 0)
        return device_status();
    require_device(p, bytes, "cudaMemset's target");
    enqueue(stream, [=] {
        memset(host_view(p), value, bytes);
        mark_set(p, bytes);
    });
    return device_status();
}

cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
    cudaError_t status = cudaMemsetAsync(p, value, bytes, nullptr);
    wait_for_stream(nullptr);
    return status;
}

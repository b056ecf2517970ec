/* Streams and events. Work runs when it is queued, or, deferred, as late as what the host waits for
 * allows and in a random order among those that CUDA allows: each stream in its order, events
 * before those who wait for them, the default stream after and before all others but non-blocking
 * ones (CUDA C++ Programming Guide, "Asynchronous concurrent execution"). */
#include "simulator.h"

#include <deque>
#include <time.h>

struct cudasim_event {
    uint64_t recorded, completed; /* times that it was */
    double at;                    /* seconds */
    bool timed;
};

namespace cudasim
{

struct work {
    uint64_t number; /* in the order of queueing */
    std::function<void()> run;
    std::shared_ptr<struct cudasim_event> wait_for; /* its time number `wait_until`, or NULL */
    uint64_t wait_until;
};

} // namespace cudasim

struct cudasim_stream {
    std::deque<struct cudasim::work> queue;
    bool blocking;
};

namespace cudasim
{

static struct cudasim_stream default_stream = {{}, true};
static std::vector<struct cudasim_stream *> streams = {&default_stream};
static std::vector<std::shared_ptr<struct cudasim_event>> events;
static uint64_t queued;
static struct random dice;

static struct cudasim_stream *stream_of(cudaStream_t s)
{
    require_owner();
    if (!s)
        return &default_stream;
    for (struct cudasim_stream *stream : streams)
        if (stream == s)
            return s;
    report("stream", "%p is no stream, or one that was destroyed", (void *)s);
}

static std::shared_ptr<struct cudasim_event> event_of(cudaEvent_t e)
{
    for (const auto &event : events)
        if (event.get() == e)
            return event;
    report("stream", "%p is no event, or one that was destroyed", (void *)e);
}

static bool earlier_work(const struct cudasim_stream &s, uint64_t number)
{
    return !s.queue.empty() && s.queue.front().number < number;
}

static bool may_run(const struct cudasim_stream &s)
{
    if (s.queue.empty())
        return false;
    const struct work &w = s.queue.front();
    if (w.wait_for && w.wait_for->completed < w.wait_until)
        return false;
    if (&s != &default_stream)
        return !s.blocking || !earlier_work(default_stream, w.number);
    for (const struct cudasim_stream *other : streams)
        if (other != &s && other->blocking && earlier_work(*other, w.number))
            return false;
    return true;
}

/* One piece of work that may run now, by lot. */
static bool run_some()
{
    std::vector<struct cudasim_stream *> candidates;
    for (struct cudasim_stream *s : streams)
        if (may_run(*s))
            candidates.push_back(s);
    if (candidates.empty())
        return false;
    struct cudasim_stream *s = candidates[dice.below(candidates.size())];
    std::function<void()> run = std::move(s->queue.front().run);
    s->queue.pop_front();
    run();
    return true;
}

static void run_until(const std::function<bool()> &done)
{
    while (!done())
        if (!run_some())
            report("stream", "a stream waits for an event that does not come");
}

static void push(struct cudasim_stream *s, std::function<void()> run,
                 std::shared_ptr<struct cudasim_event> wait_for, uint64_t wait_until)
{
    if (queued == 0)
        dice.state = settings().stream_seed;
    s->queue.push_back({++queued, std::move(run), std::move(wait_for), wait_until});
    if (!settings().deferred)
        run_until([s] { return s->queue.empty(); });
    else if (dice.below(4) == 0) /* a device may be quick as well */
        run_some();
}

void enqueue(cudaStream_t s, std::function<void()> run)
{
    auto unless_broken = [run = std::move(run)] {
        if (device_status() == cudaSuccess)
            run();
    };
    push(stream_of(s), unless_broken, nullptr, 0);
}

void let_device_go_on()
{
    while (settings().deferred && dice.below(4) && run_some())
        ;
}

void wait_for_stream(cudaStream_t s)
{
    struct cudasim_stream *stream = stream_of(s);
    run_until([stream] { return stream->queue.empty(); });
}

void wait_for_device()
{
    require_owner();
    for (size_t i = 0; i < streams.size(); i++) {
        struct cudasim_stream *s = streams[i];
        run_until([s] { return s->queue.empty(); });
    }
}

size_t live_streams_and_events()
{
    return streams.size() - 1 + events.size();
}

static double now()
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

} // namespace cudasim

using namespace cudasim;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
    *s = new struct cudasim_stream();
    (*s)->blocking = !(flags & cudaStreamNonBlocking);
    streams.push_back(*s);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *s)
{
    return cudaStreamCreateWithFlags(s, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    if (!s)
        return set_error(cudaErrorInvalidResourceHandle);
    wait_for_stream(s);
    for (size_t i = 1; i < streams.size(); i++)
        if (streams[i] == s)
            streams.erase(streams.begin() + (ptrdiff_t)i);
    delete s;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    wait_for_stream(s);
    return device_status();
}

cudaError_t cudaStreamQuery(cudaStream_t s)
{
    run_some();
    return stream_of(s)->queue.empty() ? device_status() : cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize()
{
    wait_for_device();
    return device_status();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
    events.push_back(std::make_shared<struct cudasim_event>());
    *e = events.back().get();
    (*e)->timed = !(flags & cudaEventDisableTiming);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *e)
{
    return cudaEventCreateWithFlags(e, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    event_of(e);
    for (size_t i = 0; i < events.size(); i++)
        if (events[i].get() == e) {
            events.erase(events.begin() + (ptrdiff_t)i);
            break;
        }
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    auto event = event_of(e);
    uint64_t time = ++event->recorded;
    auto complete = [event, time] {
        event->completed = time;
        event->at = now();
    };
    push(stream_of(s), complete, nullptr, 0);
    return device_status();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    auto event = event_of(e);
    push(
        stream_of(s), [] {}, event, event->recorded);
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    auto event = event_of(e);
    run_until([event] { return event->completed == event->recorded; });
    return device_status();
}

cudaError_t cudaEventQuery(cudaEvent_t e)
{
    auto event = event_of(e);
    run_some();
    return event->completed == event->recorded ? device_status() : cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to)
{
    auto a = event_of(from), b = event_of(to);
    if (!a->timed || !b->timed || !a->recorded || !b->recorded)
        return set_error(cudaErrorInvalidResourceHandle);
    if (a->completed < a->recorded || b->completed < b->recorded)
        return cudaErrorNotReady;
    *milliseconds = (float)(1e3 * (b->at - a->at));
    return cudaSuccess;
}

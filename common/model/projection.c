#include "common/model/projection.h"

#include "common/util/mem.h"

static const struct {
    const char *name, *block; /* block: what holds it in a layer */
} projections[PROJECTIONS] = {
    [Q_PROJ] = {"q_proj", "self_attn"}, [K_PROJ] = {"k_proj", "self_attn"},
    [V_PROJ] = {"v_proj", "self_attn"}, [O_PROJ] = {"o_proj", "self_attn"},
    [GATE_PROJ] = {"gate_proj", "mlp"}, [UP_PROJ] = {"up_proj", "mlp"},
    [DOWN_PROJ] = {"down_proj", "mlp"}, [LM_HEAD] = {"lm_head", NULL},
};

const char *projection_name(enum projection p)
{
    return projections[p].name;
}

char *projection_module(enum projection p, int layer)
{
    if (p == LM_HEAD)
        return xstrdup(projections[p].name);
    return xasprintf("model.layers.%d.%s.%s", layer, projections[p].block, projections[p].name);
}

/* Files that fuse matrices fuse those of one input. */
enum projection shared_first(enum projection p)
{
    return p <= V_PROJ ? Q_PROJ : p == UP_PROJ ? GATE_PROJ : p;
}

enum projection shared_end(enum projection p)
{
    return p <= V_PROJ ? O_PROJ : p == GATE_PROJ ? DOWN_PROJ : p + 1;
}

static const char *fused_name(enum projection p)
{
    enum projection first = shared_first(p);
    return first == Q_PROJ ? "qkv_proj" : first == GATE_PROJ ? "gate_up_proj" : projection_name(p);
}

char *fused_module(enum projection p, int layer)
{
    if (p == LM_HEAD)
        return xstrdup(projections[p].name);
    return xasprintf("model.layers.%d.%s.%s", layer, projections[p].block, fused_name(p));
}

struct fused_projection fused_projection(const struct config *c, enum projection p)
{
    struct fused_projection f = {0, projection_shape(c, p).out};
    if (!c->fused || shared_end(p) - shared_first(p) == 1)
        return f;
    f.out = 0;
    for (enum projection q = shared_first(p); q < shared_end(p); q++) {
        if (q == p)
            f.first = f.out;
        f.out += projection_shape(c, q).out;
    }
    return f;
}

struct projection_shape projection_shape(const struct config *c, enum projection p)
{
    int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    switch (p) {
    case Q_PROJ:
        return (struct projection_shape){q, c->width, c->qkv_bias};
    case K_PROJ:
    case V_PROJ:
        return (struct projection_shape){kv, c->width, c->qkv_bias};
    case O_PROJ:
        return (struct projection_shape){c->width, q, c->o_bias};
    case GATE_PROJ:
    case UP_PROJ:
        return (struct projection_shape){c->intermediate, c->width, c->mlp_bias};
    case DOWN_PROJ:
        return (struct projection_shape){c->width, c->intermediate, c->mlp_bias};
    case LM_HEAD:
        break;
    }
    return (struct projection_shape){c->vocab, c->width, false};
}

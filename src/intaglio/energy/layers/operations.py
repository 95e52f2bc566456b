"""Torch's operations by name: which move numbers, which compute on each, which reduce them, and which are views."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COPIES = _words("""
    cat concat stack clone contiguous to half bfloat16 double type type_as cpu cuda repeat repeat_interleave
    tile interpolate upsample pad roll flip index_select gather take_along_dim masked_select nan_to_num
    pixel_shuffle pixel_unshuffle reshape flatten zeros_like ones_like full_like rand_like randn_like setitem
    getitem copy index_put fill zero scatter scatter_add one_hot tril triu unfold fold
""")
ARITHMETIC = _words("""
    add sub subtract rsub mul multiply div true_divide divide neg negative floor_divide remainder where clamp clip
    abs square relu relu6 leaky_relu threshold hardtanh maximum minimum masked_fill lerp addcmul addcdiv eq ne lt
    gt le ge logical_and logical_or logical_not dropout truediv floordiv matrix_power and or invert radd rmul
    rtruediv ceil floor round sign reciprocal cumsum mod
""")
TRANSCENDENTAL = _words("""
    silu gelu exp exp2 expm1 log log2 log1p sigmoid tanh softmax log_softmax sin cos sqrt rsqrt pow rpow erf
    softplus mish elu celu selu hardswish hardsigmoid logsigmoid logsumexp glu normalize atan2 cosine_similarity
""")
REDUCTIONS = _words("""
    sum mean var std var_mean norm amax amin max min argmax argmin prod mse_loss l1_loss smooth_l1_loss huber_loss
    cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits kl_div avg_pool1d avg_pool2d
    avg_pool3d max_pool1d max_pool2d max_pool3d boolean_dispatch fn adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_max_pool2d topk sort any all count_nonzero cdist pairwise_distance
""")
CLASSES = {"copy": COPIES, "arithmetic": ARITHMETIC, "transcendental": TRANSCENDENTAL, "reduction": REDUCTIONS}


FREE = _words("""
    empty_like new_empty __get__ __set__ backward requires_grad_ is_floating_point int float item tolist numel size dim
    __int__ __float__ __bool__ __len__ __index__ __repr__ stride is_contiguous is_complex data_ptr
""")
"""Functions that move nothing, as torch names them."""


def class_of(name: str) -> str | None:
    """`copy`, `arithmetic`, `transcendental` or `reduction`, for the name of a torch function; None for others."""
    plain = name.strip("_").removeprefix("i") if name.startswith("__i") else name.strip("_")
    return next((kind for kind, names in CLASSES.items() if plain in names), None)

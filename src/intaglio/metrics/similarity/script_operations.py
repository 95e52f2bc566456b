"""Operations of TorchScript that compute and do nothing else: the only ones that a network from a file may ask for.

TorchScript has more than two thousand operations, some of which read and write files, run other code, or print. The
list holds what image networks, traced or scripted, are made of.
"""

ARITHMETIC = """
abs abs_ acos add add_ addcdiv addcmul addmm addmv angle asin atan atan2 baddbmm bmm ceil ceil_ clamp clamp_ clamp_max
clamp_max_ clamp_min clamp_min_ clip clip_ cos cosh cross cumprod cumsum deg2rad div div_ dot einsum erf erf_ erfc exp
exp2 exp_ expm1 float_power floor floor_ floor_divide floor_divide_ floordiv fmod frac ger hypot inner inverse lerp
lgamma linalg_cross linalg_inv linalg_matrix_norm linalg_norm linalg_vector_norm log log10 log1p log2 log_ logaddexp
logsumexp matmul maximum minimum mm mul mul_ multiply mv neg neg_ negative norm outer polar pow pow_ rad2deg real
reciprocal reciprocal_ remainder round round_ rsqrt rsqrt_ rsub sgn sign sin sinh sqrt sqrt_ square square_ sub sub_
subtract tan tanh tanh_ true_divide trunc trunc_ xlogy
"""
REDUCTIONS = """
all amax amin aminmax any argmax argmin argsort bincount count_nonzero kthvalue max mean median min mode nanmean
nansum nonzero numel prod sort std std_mean sum topk unique_dim var var_mean
"""
COMPARISONS = """
__and__ __contains__ __is__ __isnot__ __not__ __or__ __xor__ allclose bitwise_and bitwise_not bitwise_or eq equal ge
gt is_autocast_cpu_enabled is_autocast_enabled is_floating_point is_grad_enabled is_nonzero isclose isfinite isinf
isnan le logical_and logical_not logical_or logical_xor lt nan_to_num ne where
"""
LAYERS = """
_convolution _log_softmax _native_multi_head_attention _softmax _transformer_encoder_layer_fwd _upsample_bicubic2d_aa
_upsample_bilinear2d_aa _upsample_lanczos2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d
_upsample_nearest_exact3d _weight_norm _weight_norm_interface adaptive_avg_pool1d adaptive_avg_pool2d
adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d affine_grid_generator alpha_dropout avg_pool1d avg_pool2d
avg_pool3d batch_norm bilinear cdist celu celu_ channel_shuffle col2im constant_pad_nd conv1d conv2d conv3d
conv_transpose1d conv_transpose2d cosine_similarity dropout dropout_ elu elu_ embedding embedding_bag feature_dropout
fold gelu gelu_ glu grid_sampler grid_sampler_2d group_norm hardshrink hardsigmoid hardsigmoid_ hardswish hardswish_
hardtanh hardtanh_ im2col instance_norm layer_norm leaky_relu leaky_relu_ linear local_response_norm log_sigmoid
log_softmax logsigmoid lp_pool2d max_pool1d max_pool2d max_pool2d_with_indices max_pool3d mish mish_ native_batch_norm
native_group_norm native_layer_norm normalize one_hot pad pairwise_distance pixel_shuffle pixel_unshuffle prelu
reflection_pad1d reflection_pad2d relu relu6 relu6_ relu_ replication_pad1d replication_pad2d rms_norm
scaled_dot_product_attention selu selu_ sigmoid sigmoid_ silu silu_ softmax softmin softplus softshrink softsign
tanhshrink threshold threshold_ unfold upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
upsample_nearest2d upsample_nearest3d upsample_trilinear3d
"""
SHAPES = """
_nested_tensor_from_mask _nested_tensor_from_mask_left_aligned _shape_as_tensor _unsafe_view alias atleast_1d
atleast_2d broadcast_tensors broadcast_to cat chunk clone column_stack concat concatenate contiguous copy_ detach diag
diag_embed diagonal dim dstack expand expand_as flatten flip fliplr flipud gather hstack index index_add index_copy
index_fill index_put index_put_ index_select masked_fill masked_fill_ masked_scatter masked_select meshgrid moveaxis
movedim narrow permute ravel repeat repeat_interleave reshape reshape_as roll rot90 scatter scatter_ scatter_add
scatter_add_ select size slice split split_with_sizes squeeze squeeze_ stack swapaxes swapdims t take take_along_dim
tensor_split tile to_padded_tensor transpose transpose_ tril tril_ triu triu_ type_as unbind unflatten unsqueeze
unsqueeze_ view view_as vsplit vstack
"""
CREATION = """
arange empty empty_like eye fill_ full full_like hann_window linspace new_empty new_full new_ones new_zeros ones
ones_like scalar_tensor tensor zero_ zeros zeros_like
"""
CONVERSION = """
Bool Complex Float FloatImplicit Int IntImplicit ScalarImplicit bool cpu cuda device double float half int item long
requires_grad_ to type
"""
PLAIN_VALUES = """
__getitem__ __range_length _set_item append copy dict endswith extend format get insert items join keys len list lower
ord pop remove reverse startswith str upper values warn
"""
"""Texts, lists and tables; `warn` is what scripted layers say of old arguments, and is not shown."""

FLOW = """
BroadcastSizes Constant DictConstruct GetAttr If ListConstruct ListUnpack NumToTensor RaiseException SetAttr
TupleConstruct TupleIndex TupleSlice TupleUnpack Uninitialized abs data device dtype grad_of is_cpu is_cuda is_mps
is_nested is_quantized is_sparse isinstance itemsize layout max min name ndim requires_grad shape type unchecked_cast
unchecked_unwrap_optional
"""
"""Steps of the interpreter. A loop is not among them: it is looked at by itself."""

HARMLESS = frozenset(
    f"aten::{word}"
    for group in (ARITHMETIC, REDUCTIONS, COMPARISONS, LAYERS, SHAPES, CREATION, CONVERSION, PLAIN_VALUES)
    for word in group.split()
) | frozenset(f"prim::{word}" for word in FLOW.split())
"""Names of all operations that a network may ask for."""

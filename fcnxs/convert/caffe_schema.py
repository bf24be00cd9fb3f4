"""Caffe's messages as classes, made at run time from a table, so that no compiler of protobuf is needed.

The table has the fields that hold weights, and the settings of layers that a net of this package can have.
The messages of these settings (`WHOLE`) have all their fields, so that another one is seen and not ignored.
Numbers, types and defaults are those of BVLC/caffe src/caffe/proto/caffe.proto at 1.0. Only blobs' `data` is
declared as bytes: packed floats have the same encoding, and bytes are read without an object for each number.
"""

from __future__ import annotations

from typing import Any, Dict

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# Values of each enum, from 0.
ENUMS = {
    "Phase": "TRAIN TEST",
    "PoolMethod": "MAX AVE STOCHASTIC",
    "RoundMode": "CEIL FLOOR",
    "EltwiseOp": "PROD SUM MAX",
    "NormRegion": "ACROSS_CHANNELS WITHIN_CHANNEL",
    "Engine": "DEFAULT CAFFE CUDNN",
    "VarianceNorm": "FAN_IN FAN_OUT AVERAGE",
    # CROP was added by the branch that the first FCNs were trained with.
    "V1Type": "NONE ACCURACY BNLL CONCAT CONVOLUTION DATA DROPOUT EUCLIDEAN_LOSS FLATTEN HDF5_DATA HDF5_OUTPUT "
    "IM2COL IMAGE_DATA INFOGAIN_LOSS INNER_PRODUCT LRN MULTINOMIAL_LOGISTIC_LOSS POOLING RELU SIGMOID SOFTMAX "
    "SOFTMAX_LOSS SPLIT TANH WINDOW_DATA ELTWISE POWER SIGMOID_CROSS_ENTROPY_LOSS HINGE_LOSS MEMORY_DATA "
    "ARGMAX THRESHOLD DUMMY_DATA SLICE MVN ABSVAL SILENCE CONTRASTIVE_LOSS EXP DECONVOLUTION CROP",
}

OLD_SHAPE = ("num", "channels", "height", "width")  # of blobs, before BlobShape

# name:number:type, with `*` if the field repeats, and `=` before its default.
WHOLE = {
    "FillerParameter": "type:1:string=constant value:2:float=0 min:3:float=0 max:4:float=1 mean:5:float=0 "
    "std:6:float=1 sparse:7:int32=-1 variance_norm:8:VarianceNorm",
    "ConvolutionParameter": "num_output:1:uint32 bias_term:2:bool=true pad:3:uint32* kernel_size:4:uint32* "
    "group:5:uint32=1 stride:6:uint32* weight_filler:7:FillerParameter bias_filler:8:FillerParameter "
    "pad_h:9:uint32=0 pad_w:10:uint32=0 kernel_h:11:uint32 kernel_w:12:uint32 stride_h:13:uint32 "
    "stride_w:14:uint32 engine:15:Engine axis:16:int32=1 force_nd_im2col:17:bool dilation:18:uint32*",
    "PoolingParameter": "pool:1:PoolMethod kernel_size:2:uint32 stride:3:uint32 pad:4:uint32 kernel_h:5:uint32 "
    "kernel_w:6:uint32 stride_h:7:uint32 stride_w:8:uint32 pad_h:9:uint32 pad_w:10:uint32 engine:11:Engine "
    "global_pooling:12:bool round_mode:13:RoundMode",
    "CropParameter": "axis:1:int32=2 offset:2:uint32*",
    "EltwiseParameter": "operation:1:EltwiseOp=SUM coeff:2:float* stable_prod_grad:3:bool",
    "InnerProductParameter": "num_output:1:uint32 bias_term:2:bool=true weight_filler:3:FillerParameter "
    "bias_filler:4:FillerParameter axis:5:int32=1 transpose:6:bool",
    "LRNParameter": "local_size:1:uint32=5 alpha:2:float=1 beta:3:float=0.75 norm_region:4:NormRegion "
    "k:5:float=1 engine:6:Engine",
    "ReLUParameter": "negative_slope:1:float=0 engine:2:Engine",
    "PowerParameter": "power:1:float=1 scale:2:float=1 shift:3:float=0",
    "ScaleParameter": "axis:1:int32=1 num_axes:2:int32=1 filler:3:FillerParameter bias_term:4:bool "
    "bias_filler:5:FillerParameter",
    "BiasParameter": "axis:1:int32=1 num_axes:2:int32=1 filler:3:FillerParameter",
    "TransformationParameter": "scale:1:float=1 mirror:2:bool crop_size:3:uint32 mean_file:4:string "
    "mean_value:5:float* force_color:6:bool force_gray:7:bool",
}
OLD_DATA = "scale:2:float=1 mean_file:3:string"  # of the data layers, before TransformationParameter
BOTH = (  # fields of both kinds of layers, whose numbers differ
    "convolution_param:{}:ConvolutionParameter pooling_param:{}:PoolingParameter "
    "eltwise_param:{}:EltwiseParameter inner_product_param:{}:InnerProductParameter lrn_param:{}:LRNParameter "
    "relu_param:{}:ReLUParameter power_param:{}:PowerParameter transform_param:{}:TransformationParameter "
    "data_param:{}:OldData image_data_param:{}:OldData window_data_param:{}:OldData "
)
MESSAGES = {
    "BlobShape": "dim:1:int64*",
    "BlobProto": "num:1:int64 channels:2:int64 height:3:int64 width:4:int64 data:5:bytes* shape:7:BlobShape "
    "double_data:8:bytes*",
    **WHOLE,
    "OldData": OLD_DATA,
    "PythonParameter": "module:1:string layer:2:string param_str:3:string",
    "NetStateRule": "phase:1:Phase min_level:2:int32 max_level:3:int32 stage:4:string* not_stage:5:string*",
    "LayerParameter": "name:1:string type:2:string bottom:3:string* top:4:string* blobs:7:BlobProto* "
    "include:8:NetStateRule* exclude:9:NetStateRule* "
    + BOTH.format(106, 121, 110, 117, 118, 123, 122, 100, 107, 115, 129)
    + "python_param:130:PythonParameter bias_param:141:BiasParameter scale_param:142:ScaleParameter "
    "crop_param:144:CropParameter",
    "V1LayerParameter": "bottom:2:string* top:3:string* name:4:string type:5:V1Type blobs:6:BlobProto* "
    "include:32:NetStateRule* exclude:33:NetStateRule* "
    + BOTH.format(10, 19, 24, 17, 18, 30, 21, 36, 11, 15, 20),
    "NetParameter": "name:1:string layers:2:V1LayerParameter* input:3:string* input_dim:4:int32* "
    "layer:100:LayerParameter*",
}


def _classes() -> Dict[str, Any]:
    """Message classes by name."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="fcnxs_caffe.proto", package="fcnxs", syntax="proto2")
    for enum, values in ENUMS.items():  # each in a message of its own: values of two enums have the same name
        described = file.message_type.add(name=f"Of{enum}").enum_type.add(name=enum)
        for number, name in enumerate(values.split()):
            described.value.add(name=name, number=number)
    for message, fields in MESSAGES.items():
        described = file.message_type.add(name=message)
        for text in fields.split():
            name, number, kind = text.split(":")
            kind, _, default = kind.partition("=")
            repeated, kind = kind.endswith("*"), kind.rstrip("*")
            added = described.field.add(name=name, number=int(number))
            added.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            if kind in ENUMS:
                added.type, added.type_name = field.TYPE_ENUM, f".fcnxs.Of{kind}.{kind}"
            elif kind in MESSAGES:
                added.type, added.type_name = field.TYPE_MESSAGE, f".fcnxs.{kind}"
            else:
                added.type = getattr(field, f"TYPE_{kind.upper()}")
            if default:
                added.default_value = default
            if message == "BlobShape":
                added.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"fcnxs.{name}")) for name in MESSAGES
    }


CLASSES = _classes()
Message = Any  # one of these classes

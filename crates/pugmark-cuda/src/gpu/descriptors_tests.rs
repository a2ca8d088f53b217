use super::*;
use sys::{cudnnDataType_t as DataType, cudnnMathType_t as Math, cudnnTensorFormat_t as Layout};

/// All sizes differ, so that none can stand for another.
const SHAPE: Convolution = Convolution {
    images: 2,
    height: 11,
    width: 9,
    in_channels: 3,
    out_channels: 5,
    kernel: (4, 7),
    stride: 2,
    padding: 1,
};

#[test]
fn sizes_are_in_the_librarys_order() {
    let shape = Shape::of(&SHAPE).unwrap();
    // (11 + 2 - 4) / 2 + 1 and (9 + 2 - 7) / 2 + 1.
    let expected = Shape { x: [2, 3, 11, 9], w: [5, 3, 4, 7], y: [2, 5, 5, 3], stride: 2, padding: 1 };
    assert_eq!(shape, expected);
    assert!(Shape::of(&Convolution { images: 1 << 23, ..SHAPE }).is_err());
}

#[test]
fn steps_lead_to_where_a_value_lies() {
    let (images, height, width, channels) = (2, 4, 5, 3);
    let [image_step, channel_step, row_step, column_step] = steps([images, channels, height, width]);
    let mut at = 0;
    for image in 0..images {
        for row in 0..height {
            for column in 0..width {
                for channel in 0..channels {
                    let found =
                        image * image_step + row * row_step + column * column_step + channel * channel_step;
                    assert_eq!(found, at);
                    at += 1;
                }
            }
        }
    }
}

/// The real library takes the descriptors and sees in them the shape that we do; that needs no GPU.
#[test]
fn the_real_library_sees_the_same_shape() {
    if std::env::var_os("PUGMARK_CUDNN").is_none() {
        println!("NOT CHECKED: cuDNN's descriptors; PUGMARK_CUDNN names no folder");
        return;
    }
    crate::gpu::libraries::CUDNN.check().unwrap();
    let one = Convolution { in_channels: 1, kernel: (1, 1), stride: 1, padding: 0, ..SHAPE };
    for shape in [SHAPE, one, Convolution { kernel: (3, 3), stride: 3, ..SHAPE }] {
        for (values, math) in [
            (DataType::CUDNN_DATA_FLOAT, Math::CUDNN_FMA_MATH),
            (DataType::CUDNN_DATA_BFLOAT16, Math::CUDNN_TENSOR_OP_MATH),
        ] {
            let made = Descriptors::new(&shape, values, math).unwrap();
            let expected = Shape::of(&shape).unwrap();
            let mut out = [0; 4];
            let [n, c, h, w] = out.each_mut().map(|size| &raw mut *size);
            // SAFETY: the descriptors live, and the library writes the four numbers.
            unsafe {
                sys::cudnnGetConvolution2dForwardOutputDim(made.convolution, made.x, made.w, n, c, h, w)
            }
            .result()
            .unwrap();
            assert_eq!(out, expected.y, "{shape:?}");
            assert_eq!(read(made.x), (values, expected.x, steps(expected.x)));
            // The library's own idea of NHWC.
            // SAFETY: the descriptor lives.
            unsafe {
                result::set_tensor4d_descriptor(made.x, Layout::CUDNN_TENSOR_NHWC, values, expected.x)
                    .unwrap();
            }
            assert_eq!(read(made.x), (values, expected.x, steps(expected.x)));
        }
    }
}

fn read(tensor: sys::cudnnTensorDescriptor_t) -> (DataType, [c_int; 4], [c_int; 4]) {
    let (mut of, mut sizes, mut steps) = (DataType::CUDNN_DATA_INT8, [0; 4], [0; 4]);
    let [n, c, h, w] = sizes.each_mut().map(|size| &raw mut *size);
    let [ns, cs, hs, ws] = steps.each_mut().map(|step| &raw mut *step);
    // SAFETY: the descriptor lives, and the library writes the nine numbers.
    unsafe { sys::cudnnGetTensor4dDescriptor(tensor, &raw mut of, n, c, h, w, ns, cs, hs, ws) }
        .result()
        .unwrap();
    (of, sizes, steps)
}

use super::*;

/// As the library's documentation says, on matrices in columns.
fn gemm(gemm: &Gemm, a: &[f32], b: &[f32], c: &mut [f32]) {
    for row in 0..gemm.m {
        for column in 0..gemm.n {
            let sum = (0..gemm.k).map(|i| {
                let a = if gemm.turn_a { a[i + row * gemm.lda] } else { a[row + i * gemm.lda] };
                let b = if gemm.turn_b { b[column + i * gemm.ldb] } else { b[i + column * gemm.ldb] };
                a * b
            });
            c[row + column * gemm.ldc] = sum.sum();
        }
    }
}

#[test]
fn rows_and_turns_become_the_librarys() {
    let (m, n, k) = (3, 5, 4);
    for turn_a in [false, true] {
        for turn_b in [false, true] {
            // Small whole numbers: sums are exact in any order.
            let a = |row: usize, column: usize| (row * 7 + column * 3) as f32 - 8.0;
            let b = |row: usize, column: usize| (row * 2 + column * 5) as f32 - 9.0;
            let mut kept_a = vec![0.0; m * k];
            let mut kept_b = vec![0.0; k * n];
            for i in 0..k {
                for row in 0..m {
                    kept_a[if turn_a { i * m + row } else { row * k + i }] = a(row, i);
                }
                for column in 0..n {
                    kept_b[if turn_b { column * k + i } else { i * n + column }] = b(i, column);
                }
            }
            let matmul = Matmul { m, n, k, turn_a, turn_b };
            let mut c = vec![f32::NAN; m * n];
            gemm(&Gemm::of(&matmul), &kept_b, &kept_a, &mut c);
            for row in 0..m {
                for column in 0..n {
                    let expected: f32 = (0..k).map(|i| a(row, i) * b(i, column)).sum();
                    assert_eq!(c[row * n + column], expected, "{matmul:?} at {row}, {column}");
                }
            }
        }
    }
}

/// The real library takes the descriptions; that needs no GPU.
#[test]
fn the_real_library_describes_products() {
    if std::env::var_os("PUGMARK_CUBLASLT").is_none() {
        println!("NOT CHECKED: descriptions of products; PUGMARK_CUBLASLT names no folder");
        return;
    }
    crate::gpu::libraries::CUBLASLT.check().unwrap();
    for (values, of_c) in [(Type::F32, Type::F32), (Type::Bf16, Type::Bf16), (Type::Bf16, Type::F32)] {
        for turn_b in [false, true] {
            let matmul = Matmul { m: 3, n: 5, k: 4, turn_a: !turn_b, turn_b };
            let key = Key { matmul, values, of_c, aligned: [16; 3], tf32: false };
            let plan = Plan::new(&key).unwrap();
            Chosen::by(&key).unwrap();
            let rows =
                layout_attribute(plan.a, sys::cublasLtMatrixLayoutAttribute_t::CUBLASLT_MATRIX_LAYOUT_ROWS);
            let columns =
                layout_attribute(plan.a, sys::cublasLtMatrixLayoutAttribute_t::CUBLASLT_MATRIX_LAYOUT_COLS);
            assert_eq!((rows, columns), if turn_b { (4, 5) } else { (5, 4) });
            let rows =
                layout_attribute(plan.b, sys::cublasLtMatrixLayoutAttribute_t::CUBLASLT_MATRIX_LAYOUT_ROWS);
            let columns =
                layout_attribute(plan.b, sys::cublasLtMatrixLayoutAttribute_t::CUBLASLT_MATRIX_LAYOUT_COLS);
            assert_eq!((rows, columns), if turn_b { (4, 3) } else { (3, 4) });
        }
    }
}

fn layout_attribute(
    layout: sys::cublasLtMatrixLayout_t,
    attribute: sys::cublasLtMatrixLayoutAttribute_t,
) -> u64 {
    let (mut value, mut written) = (0_u64, 0);
    // SAFETY: the attribute is of 64 bits.
    unsafe {
        sys::cublasLtMatrixLayoutGetAttribute(layout, attribute, (&raw mut value).cast(), 8, &raw mut written)
    }
    .result()
    .unwrap();
    assert_eq!(written, 8);
    value
}

//! One loop, compiled for several processors.

/// Defines `fn $name`, which runs `$body` in the widest variant that this processor has.
///
/// The body is an `#[inline(always)]` function over slices, which the compiler vectorises by itself: once with
/// AVX-512, once with AVX2 and FMA, once for the baseline. In the form `$body::<FMA>` the body takes a
/// `const FMA: bool`: where it is false, `mul_add` would be a call into libm.
///
/// ```
/// #[inline(always)]
/// fn double_body(x: &mut [f32]) {
///     x.iter_mut().for_each(|x| *x *= 2.0);
/// }
/// tvr_nn::widest!(double = double_body(x: &mut [f32]));
///
/// let mut x = [1.0, 2.5];
/// double(&mut x);
/// assert_eq!(x, [2.0, 5.0]);
/// ```
#[macro_export]
macro_rules! widest {
    ($visible:vis $name:ident = $body:ident::<FMA>($($argument:ident: $type:ty),*)) => {
        $crate::widest!(@define $visible $name [$body::<true>] [$body::<false>] ($($argument: $type),*));
    };
    ($visible:vis $name:ident = $body:ident($($argument:ident: $type:ty),*)) => {
        $crate::widest!(@define $visible $name [$body] [$body] ($($argument: $type),*));
    };
    (@define $visible:vis $name:ident [$($wide:tt)*] [$($plain:tt)*] ($($argument:ident: $type:ty),*)) => {
        $visible fn $name($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn avx512($($argument: $type),*) {
                    $($wide)*($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $type),*) {
                    $($wide)*($($argument),*)
                }
                let two = ::std::is_x86_feature_detected!("avx2") && ::std::is_x86_feature_detected!("fma");
                let four = ::std::is_x86_feature_detected!("avx512f")
                    && ::std::is_x86_feature_detected!("avx512vl")
                    && ::std::is_x86_feature_detected!("avx512dq")
                    && ::std::is_x86_feature_detected!("avx512bw");
                if two && four {
                    // SAFETY: the processor has every feature of this variant, asked just above.
                    return unsafe { avx512($($argument),*) };
                }
                if two {
                    // SAFETY: as above.
                    return unsafe { avx2($($argument),*) };
                }
            }
            $($plain)*($($argument),*)
        }
    };
}

extern "C" __global__ void from_f32(u64 len, const float* from, T* to) {
    u64 i = index();
    if (i < len) store(to + i, from[i]);
}

extern "C" __global__ void to_f32(u64 len, const T* from, float* to) {
    u64 i = index();
    if (i < len) to[i] = load(from + i);
}

// The infrastructure's own test: a failed static_assert is seen.
// EXPECT-ERROR: the moon is not made of cheese

constexpr bool kCheese = false;

#ifdef COMPILE_FAIL
static_assert(kCheese, "the moon is not made of cheese");
#else
static_assert(!kCheese);
#endif

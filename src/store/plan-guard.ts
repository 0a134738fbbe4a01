/**
 * Connection options of those who name each row they touch. The planner, left to itself, scans the big tables while their
 * statistics are young (measured: 43,000 → 2,000 steps/s), and plans anew on every call.
 */
export const planGuard = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan";

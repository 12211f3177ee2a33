/**
 * Latency buckets with bounds on a logarithmic scale, as in DDSketch (Masson, Rim and Lee, 2019). Bucket 0 holds latencies
 * below 1 ms, and bucket n those from `GROWTH ** (n - 1)` to `GROWTH ** n` ms. The value of a bucket differs by at most
 * (GROWTH - 1) / (GROWTH + 1) = 9.1 % from each latency in it.
 */
const GROWTH = 1.2;
/** Upper bound of the bucket numbers. 1.2 ** 150 ms are 24 years. */
const LAST_BUCKET = 150;
/** Bucket of notifications that were not sent. They have no latency. */
export const NOT_SENT = -1;

/** Time from the due time to sending, in milliseconds, of a row of `notification_log`. */
const LATENCY_MS = `(extract(epoch from sent_at - greatest(created_at, scheduled_at))::float8 * 1000)`;

/** SQL expression for the latency bucket of a row of `notification_log`. */
export const BUCKET = `(case when sent_at is null then ${NOT_SENT} when ${LATENCY_MS} < 1 then 0
  else least(floor(ln(${LATENCY_MS}) / ln(${GROWTH}::float8)) + 1, ${LAST_BUCKET}) end)::smallint`;

/** Returns the latency that stands for all latencies of a bucket, in milliseconds. */
export const bucketValue = (bucket: number): number => (bucket === 0 ? 0 : (2 * GROWTH ** bucket) / (GROWTH + 1));

/** Number of notifications in some of the buckets, in any order. */
export interface Histogram {
  buckets: readonly number[];
  /** Number of notifications in the bucket at the same index. */
  counts: readonly number[];
}

/**
 * Returns percentiles in milliseconds; null if the histogram is empty. Interpolates between the two nearest ranks, as
 * `percentile_cont` of PostgreSQL does.
 *
 * @param fractions each from 0 to 1, for example 0.95.
 */
export function percentiles({ buckets, counts }: Histogram, fractions: readonly number[]): (number | null)[] {
  const sorted = buckets.map((bucket, index) => ({ bucket, count: counts[index] as number }));
  sorted.sort((one, other) => one.bucket - other.bucket);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const valueAt = (position: number): number => {
    let seen = 0;
    const at = sorted.find(({ count }) => (seen += count) > position);
    return bucketValue((at as { bucket: number }).bucket);
  };
  return fractions.map((fraction) => {
    if (total === 0) return null;
    const rank = fraction * (total - 1);
    const [lower, upper] = [valueAt(Math.floor(rank)), valueAt(Math.ceil(rank))];
    return lower + (upper - lower) * (rank - Math.floor(rank));
  });
}

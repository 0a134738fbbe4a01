/**
 * A row's xmin counts transactions modulo 2^32. The whole number of one that is near `near`: up to 2^24 behind it, else
 * before it, which tells 4.2 thousand million transactions apart.
 */
export function fullXid(raw: string, near: string): string {
  const ahead = `mod(mod(${raw}::text::bigint - ${near}, 4294967296) + 4294967296, 4294967296)`;
  return `greatest(1, ${near} + ${ahead} - case when ${ahead} >= 16777216 then 4294967296 else 0 end)`;
}

/** The name of a step out of its path (`orders[3]/charge` → `charge`, `orders[3]` → `orders`), as SQL. */
export function stepNameSql(path: string): string {
  return `regexp_replace(regexp_replace(${path}, '^.*/', ''), '\\[[0-9]+\\]$', '')`;
}

/** Milliseconds between two moments, as float8. */
export function spanMsSql(from: string, to: string): string {
  return `(extract(epoch from ${to} - ${from}) * 1000)::float8`;
}

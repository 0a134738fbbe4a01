/** Durations as the contract writes them in JSON: decimal seconds with an `s` (`"1.5s"`). Inside, milliseconds. */

/** Milliseconds of a proto JSON duration, or undefined when the text is not one. Negative ones are returned as such. */
export function parseDurationMs(text: string): number | undefined {
  const match = /^(-?\d{1,12})(?:\.(\d{1,9}))?s$/.exec(text);
  if (!match) return undefined;
  const seconds = Number(match[1]);
  const fraction = match[2] ? Number(`0.${match[2]}`) : 0;
  return (seconds < 0 || text.startsWith("-") ? seconds - fraction : seconds + fraction) * 1000;
}

/** The proto JSON text of a duration in milliseconds, for example `1.5s`. */
export function formatDuration(durationMs: number): string {
  return `${Number((durationMs / 1000).toFixed(9))}s`;
}

/** A duration for people: `412 ms`, `2.4 s`, `3 min 5 s`. */
export function describeDuration(durationMs: number): string {
  if (durationMs < 1000) return `${Math.round(durationMs)} ms`;
  if (durationMs < 60_000) return `${(durationMs / 1000).toFixed(1)} s`;
  return `${Math.floor(durationMs / 60_000)} min ${Math.round((durationMs % 60_000) / 1000)} s`;
}

/** Durations as the contract writes them in JSON: decimal seconds with an `s` (`"1.5s"`). Inside, milliseconds. */

/** Milliseconds of a proto JSON duration, or undefined when the text is not one. Negative ones are returned as such. */
export function parseDurationMs(text: string): number | undefined {
  const match = /^(-?\d{1,12})(?:\.(\d{1,9}))?s$/.exec(text);
  if (!match) return undefined;
  const wholeMs = Number(match[1]) * 1000;
  const fractionMs = Number((match[2] ?? "").padEnd(9, "0")) / 1_000_000;
  return text.startsWith("-") ? wholeMs - fractionMs : wholeMs + fractionMs;
}

/** The proto JSON text of a duration in milliseconds, for example `1.5s`. */
export function formatDuration(durationMs: number): string {
  return `${Number((durationMs / 1000).toFixed(9))}s`;
}

/** A duration for people: `412 ms`, `2.4 s`, `3 min 5 s`. */
export function describeDuration(durationMs: number): string {
  if (durationMs < 1000) return `${Math.round(durationMs)} ms`;
  if (durationMs < 60_000) return `${(durationMs / 1000).toFixed(1)} s`;
  const seconds = Math.round(durationMs / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

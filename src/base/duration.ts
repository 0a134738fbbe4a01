/** Durations as the contract writes them in JSON: decimal seconds with an `s` (`"1.5s"`). Inside, milliseconds. */

/** Milliseconds of a proto JSON duration, or undefined when the text is not one. Negative ones are returned as such. */
export function parseDurationMs(text: string): number | undefined {
  const match = /^(-?\d{1,12})(?:\.(\d{1,9}))?s$/.exec(text);
  if (!match) return undefined;
  const wholeMs = Number(match[1]) * 1000;
  const fractionMs = Number((match[2] ?? "").padEnd(9, "0")) / 1_000_000;
  return text.startsWith("-") ? wholeMs - fractionMs : wholeMs + fractionMs;
}

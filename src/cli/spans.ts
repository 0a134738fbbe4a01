/** Spans of time as people write and read them. */
import { type Duration, durationFromMs, type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `5s`, `1.5h`, `1h30m`; undefined when the text is no span. */
export function parseSpan(text: string): Duration | undefined {
  if (!/^(\d+(\.\d+)?(ms|[smhd]))+$/.test(text)) return undefined;
  const ms = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhd])/g)].reduce((sum, [, count, unit]) => sum + Number(count) * (unitMs[unit ?? ""] ?? 0), 0);
  return ms <= 366 * 86_400_000 ? durationFromMs(ms) : undefined;
}

/** `412 ms`, `2.4 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. */
export function spanText(ms: number): string {
  if (ms < 1) return "<1 ms";
  if (ms < 1_000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const [large, largeMs, small, smallMs] =
    ms < 3_600_000
      ? (["min", 60_000, "s", 1_000] as const)
      : ms < 86_400_000
        ? (["h", 3_600_000, "min", 60_000] as const)
        : (["d", 86_400_000, "h", 3_600_000] as const);
  const rest = Math.floor((ms % largeMs) / smallMs);
  return `${Math.floor(ms / largeMs)} ${large}${rest > 0 ? ` ${rest} ${small}` : ""}`;
}

/** Milliseconds since 1970, fractions kept. */
export function timeMs(time: Timestamp | undefined): number | undefined {
  return time && Number(time.seconds) * 1_000 + time.nanos / 1e6;
}

/** `2026-12-01T02:14:12.170Z`; empty when there is none. */
export function timeText(time: Timestamp | undefined): string {
  return time ? timestampDate(time).toISOString() : "";
}

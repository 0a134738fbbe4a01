/**
 * Durations and timestamps, in nanoseconds as CEL has them. Dates are calculated in UTC throughout; a zone only shifts
 * the fields that are read, so the process's own time zone can never show through.
 */
import { Problem, quoted } from "./problem.ts";
import { Duration, Timestamp } from "./value.ts";
import { intMax, intMin } from "./whole-number.ts";

const nanosPerSecond = 1_000_000_000n;
const nanosPerMilli = 1_000_000n;
const timestampSecondsMin = -62_135_596_800n; // 0001-01-01T00:00:00Z
const timestampSecondsMax = 253_402_300_799n; // 9999-12-31T23:59:59Z
const unitNanos = new Map<string, bigint>([
  ["h", 3_600n * nanosPerSecond],
  ["m", 60n * nanosPerSecond],
  ["s", nanosPerSecond],
  ["ms", nanosPerMilli],
  ["us", 1_000n],
  ["µs", 1_000n],
  ["ns", 1n],
]);

/** A duration inside its range (about ±292 years), else a problem. */
export function shortDuration(nanos: bigint): Duration {
  if (nanos > intMax || nanos < intMin) throw new Problem("the duration is out of range (about 292 years)");
  return new Duration(nanos);
}

/** A timestamp inside the years 1 to 9999, else a problem. */
export function shortTimestamp(nanos: bigint): Timestamp {
  const seconds = floorDivide(nanos, nanosPerSecond);
  if (seconds < timestampSecondsMin || seconds > timestampSecondsMax) throw new Problem("the timestamp is outside the years 1 to 9999");
  return new Timestamp(nanos);
}

/** `1h30m`, `-1.5s`, `250ms`, `0`. */
export function parseDuration(text: string): Duration {
  const match = text.length > 128 ? null : /^([+-]?)((?:(?:\d+(?:\.\d*)?|\.\d+)(?:h|ms|m|s|us|µs|ns))+|0)$/.exec(text);
  if (!match) throw new Problem(`${quoted(text)} is not a duration such as "1h30m" or "1.5s"`);
  let nanos = 0n;
  for (const [, whole, fraction, unit] of (match[2] as string).matchAll(/(\d*)\.?(\d*)(h|ms|m|s|us|µs|ns)/g)) {
    const scale = unitNanos.get(unit as string) as bigint;
    nanos += BigInt(whole || 0) * scale + (BigInt(fraction || 0) * scale) / 10n ** BigInt((fraction as string).length);
  }
  return shortDuration(match[1] === "-" ? -nanos : nanos);
}

/** RFC 3339 with a zone: `2026-01-31T12:00:00.5+02:00`. */
export function parseTimestamp(text: string): Timestamp {
  const match = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/.exec(text);
  if (!match) throw new Problem(`${quoted(text)} is not a timestamp such as "2026-01-31T12:00:00Z"`);
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [number, number, number, number, number, number];
  const offsetMinutes = (match[8] === "-" ? -1 : 1) * (Number(match[9] ?? 0) * 60 + Number(match[10] ?? 0));
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const exists = date.getUTCMonth() === month - 1 && date.getUTCDate() === day && hour < 24 && minute < 60 && second < 60;
  if (!exists || Number(match[9] ?? 0) > 23 || Number(match[10] ?? 0) > 59) throw new Problem(`${quoted(text)} is not a moment of the calendar`);
  const fraction = BigInt((match[7] ?? "").padEnd(9, "0"));
  return shortTimestamp(BigInt(date.getTime() - offsetMinutes * 60_000) * nanosPerMilli + fraction);
}

/** Seconds with as many digits as are needed: `1.5s`. */
export function formatDuration(duration: Duration): string {
  const nanos = duration.nanos < 0n ? -duration.nanos : duration.nanos;
  return `${duration.nanos < 0n ? "-" : ""}${nanos / nanosPerSecond}${formatFraction(nanos % nanosPerSecond).replace(/0+$/, "")}s`;
}

/** RFC 3339 in UTC with 0, 3, 6 or 9 digits after the second. */
export function formatTimestamp(timestamp: Timestamp): string {
  const seconds = floorDivide(timestamp.nanos, nanosPerSecond);
  const text = new Date(Number(seconds) * 1_000).toISOString();
  return `${text.slice(0, 19)}${formatFraction(timestamp.nanos - seconds * nanosPerSecond)}Z`;
}

/** Whole seconds since 1970, rounded down. */
export function secondsOf(timestamp: Timestamp): bigint {
  return floorDivide(timestamp.nanos, nanosPerSecond);
}

/** The calendar fields of a timestamp in `zone` (UTC, `+02:00` or a name such as `Europe/Berlin`), as a UTC date. */
export function dateIn(timestamp: Timestamp, zone: string | undefined): Date {
  const milliseconds = Number(floorDivide(timestamp.nanos, nanosPerMilli));
  if (zone === undefined || zone === "UTC") return new Date(milliseconds);
  const offset = /^([+-]?)(\d\d):(\d\d)$/.exec(zone);
  if (offset) {
    const minutes = Number(offset[2]) * 60 + Number(offset[3]);
    return new Date(milliseconds + (offset[1] === "-" ? -minutes : minutes) * 60_000);
  }
  const fields = new Map(
    zoneFormat(zone)
      .formatToParts(milliseconds)
      .map((part) => [part.type, Number(part.value)]),
  );
  const field = (name: Intl.DateTimeFormatPartTypes) => fields.get(name) as number;
  const date = new Date(0);
  date.setUTCFullYear(field("year"), field("month") - 1, field("day"));
  date.setUTCHours(field("hour"), field("minute"), field("second"), new Date(milliseconds).getUTCMilliseconds());
  return date;
}

const zoneFormats = new Map<string, Intl.DateTimeFormat>();

/** Making a format costs 50 µs, so the few zones in use are kept. */
function zoneFormat(zone: string): Intl.DateTimeFormat {
  const known = zoneFormats.get(zone);
  if (known) return known;
  if (!/^[A-Za-z][A-Za-z0-9_+\-/]{0,63}$/.test(zone)) throw new Problem(`${quoted(zone)} is not a time zone`);
  try {
    const format = new Intl.DateTimeFormat("en-US", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    if (zoneFormats.size >= 64) zoneFormats.clear();
    zoneFormats.set(zone, format);
    return format;
  } catch {
    throw new Problem(`${quoted(zone)} is not a time zone`);
  }
}

function formatFraction(nanos: bigint): string {
  if (nanos === 0n) return "";
  const digits = nanos.toString().padStart(9, "0");
  return `.${digits.endsWith("000000") ? digits.slice(0, 3) : digits.endsWith("000") ? digits.slice(0, 6) : digits}`;
}

function floorDivide(value: bigint, divisor: bigint): bigint {
  const quotient = value / divisor;
  return value % divisor < 0n ? quotient - 1n : quotient;
}

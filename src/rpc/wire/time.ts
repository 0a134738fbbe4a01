/** Moments and spans: milliseconds inside, google.protobuf.Timestamp and Duration on the wire. */
import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema, durationFromMs, durationMs, type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { violationsError } from "../../base/errors.ts";

/** The Timestamp of a moment in milliseconds since the epoch (fractions are rounded away); undefined stays undefined. */
export function timestampOf(atMs: number): Timestamp;
export function timestampOf(atMs: number | undefined): Timestamp | undefined;
export function timestampOf(atMs: number | undefined): Timestamp | undefined {
  return atMs === undefined ? undefined : timestampFromMs(Math.round(atMs));
}

/** Milliseconds since the epoch, rounded; undefined stays undefined. */
export function msOfTimestamp(timestamp: Timestamp): number;
export function msOfTimestamp(timestamp: Timestamp | undefined): number | undefined;
export function msOfTimestamp(timestamp: Timestamp | undefined): number | undefined {
  return timestamp && timestampMs(timestamp);
}

export function dateOf(timestamp: Timestamp): Date;
export function dateOf(timestamp: Timestamp | undefined): Date | undefined;
export function dateOf(timestamp: Timestamp | undefined): Date | undefined {
  return timestamp && new Date(timestampMs(timestamp));
}

/** The Duration of a span in milliseconds; undefined stays undefined. */
export function durationOf(spanMs: number): Duration;
export function durationOf(spanMs: number | undefined): Duration | undefined;
export function durationOf(spanMs: number | undefined): Duration | undefined {
  return spanMs === undefined ? undefined : durationFromMs(Math.round(spanMs));
}

/** The Duration of a span in milliseconds, kept to the microsecond: what is measured here is often shorter than one of them. */
export function fineDurationOf(spanMs: number): Duration;
export function fineDurationOf(spanMs: number | undefined): Duration | undefined;
export function fineDurationOf(spanMs: number | undefined): Duration | undefined {
  if (spanMs === undefined) return undefined;
  const micros = Math.round(spanMs * 1000);
  return create(DurationSchema, { seconds: BigInt(Math.trunc(micros / 1e6)), nanos: (micros % 1e6) * 1000 });
}

/** Milliseconds of a Duration, rounded; undefined stays undefined. */
export function msOfDuration(duration: Duration): number;
export function msOfDuration(duration: Duration | undefined): number | undefined;
export function msOfDuration(duration: Duration | undefined): number | undefined {
  return duration && durationMs(duration);
}

/** The end of the year 9999 is the last moment that can be written. */
const lastMs = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** Milliseconds since the epoch of a moment that a caller chose. @throws AppError VALIDATION_FAILED (`field`) for one that no table can hold */
export function momentOf(timestamp: Timestamp | undefined, field: string): number | undefined {
  const at = msOfTimestamp(timestamp);
  if (at === undefined || (at >= 0 && at <= lastMs)) return at;
  throw violationsError([{ field, reason: "VALIDATION_FAILED", description: "must lie between 1970 and the end of 9999" }]);
}

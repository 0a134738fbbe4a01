/** Moments and spans: milliseconds inside, google.protobuf.Timestamp and Duration on the wire. */
import { type Duration, durationFromMs, durationMs, type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";

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

/** Milliseconds of a Duration, rounded; undefined stays undefined. */
export function msOfDuration(duration: Duration): number;
export function msOfDuration(duration: Duration | undefined): number | undefined;
export function msOfDuration(duration: Duration | undefined): number | undefined {
  return duration && durationMs(duration);
}

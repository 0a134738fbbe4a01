/**
 * Reads fields of a step's configuration (proto JSON, snake_case names). What is absent or of another type reads as
 * undefined; the contract's own rules have refused wrong types at save.
 */
import { parseDurationMs } from "../base/duration.ts";
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { type Failure, failure } from "../domain/failure.ts";
import type { StepOutcome } from "./step-handler.ts";

/** A value as text, as templates join it: strings as they are, null as empty, others as JSON. */
export function textOf(value: Json): string {
  if (typeof value === "string") return value;
  return value === null ? "" : JSON.stringify(value);
}

/** A string field that is set; proto JSON cannot tell an empty string from an absent one. */
export function textField(config: JsonObject, name: string): string | undefined {
  const value = config[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** A whole number; int64 travels as text in proto JSON. Zero means absent. */
export function integerField(config: JsonObject, name: string): number | undefined {
  const value = config[name];
  const number = typeof value === "string" && /^-?\d{1,16}$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isSafeInteger(number) && number !== 0 ? number : undefined;
}

export function objectField(config: JsonObject, name: string): JsonObject | undefined {
  const value = config[name];
  return isJsonObject(value) ? value : undefined;
}

export function listField(config: JsonObject, name: string): readonly Json[] {
  const value = config[name];
  return Array.isArray(value) ? value : [];
}

/** Milliseconds of a Duration field (`"1.5s"`). */
export function durationField(config: JsonObject, name: string): number | undefined {
  const value = config[name];
  return typeof value === "string" ? parseDurationMs(value) : undefined;
}

/** Whether any field of that name is set to something. */
export function isSet(config: JsonObject, name: string): boolean {
  const value = config[name];
  return value !== undefined && value !== null;
}

/** A failure that surely left nothing behind. */
export function failed(name: string, message: string, details?: Json): StepOutcome {
  return { kind: "failed", outcome: "failed", failure: failure(name, message, details) };
}

export function failedWith(fault: Failure): StepOutcome {
  return { kind: "failed", outcome: "failed", failure: fault };
}

/**
 * `wait_for_event`: the execution waits, without memory or a connection, for one of up to eight events. The handler only says
 * which and how long; the engine finds those that came before and is told of those that come later.
 */
import { isJsonObject, type JsonObject } from "../base/json.ts";
import type { AwaitedEvent } from "../domain/events.ts";
import { durationField, failed, isSet, listField, textField, textOf } from "./config-fields.ts";
import type { StepHandler } from "./step-handler.ts";

const timeoutMsDefault = 86_400_000;
const timeoutMsMax = 366 * 86_400_000;
const alternativesMax = 8;
const keyCharactersMax = 256;

export const waitForEvent: StepHandler = {
  type: "wait_for_event",
  nature: "wait",
  fields: { "any_of[].correlation_key": { as: "template" }, "any_of[].filter": { as: "expression", adds: ["event"] } },
  startToCloseMs: 30_000,
  startToCloseMsMax: 86_400_000,

  check(config, report) {
    const alternatives = listField(config, "any_of");
    if (alternatives.length === 0) report("any_of", "VALIDATION_FAILED", "name at least one event that ends the wait");
    if (alternatives.length > alternativesMax) report("any_of", "LIMIT_EXCEEDED", `has more than ${alternativesMax} events`);
    alternatives.forEach((item, index) => {
      if (!isJsonObject(item) || textField(item, "event_type") === undefined)
        report(`any_of[${index}].event_type`, "VALIDATION_FAILED", 'name the type of the event, for example "payment.settled"');
    });
    const timeoutMs = durationField(config, "timeout");
    if (isSet(config, "timeout") && (timeoutMs === undefined || timeoutMs < 0)) report("timeout", "VALIDATION_FAILED", 'is not a duration from "0s" on');
    if (timeoutMs !== undefined && timeoutMs > timeoutMsMax) report("timeout", "LIMIT_EXCEEDED", "is longer than 366 days");
  },

  run(call) {
    const events: AwaitedEvent[] = [];
    for (const [index, item] of listField(call.config, "any_of").filter(isJsonObject).entries()) {
      const eventType = textField(item, "event_type") ?? "";
      const correlationKey = Object.hasOwn(item, "correlation_key") ? keyOf(item) : undefined;
      if (correlationKey !== undefined && (correlationKey === "" || correlationKey.length > keyCharactersMax)) {
        const found = correlationKey === "" ? "is empty" : `has ${correlationKey.length} characters`;
        return failed("EXPRESSION", `any_of[${index}].correlation_key ${found}; a key has 1 to ${keyCharactersMax}`);
      }
      events.push({ eventType, ...(correlationKey === undefined ? {} : { correlationKey }) });
    }
    const wakeAt = call.now() + (durationField(call.config, "timeout") ?? timeoutMsDefault);
    return { kind: "waiting", wakeAt, awaiting: events.map(({ eventType }) => eventType).join(", "), events };
  },
};

/** Keys of numbers are their digits: what a sender writes as text. */
function keyOf(item: JsonObject): string {
  return textOf(item["correlation_key"] ?? null);
}

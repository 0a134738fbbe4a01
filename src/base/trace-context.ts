/**
 * What travels with a call beside its `traceparent`: W3C `tracestate` and `baggage`. Both come from outside and leave again as
 * headers, so they are read member by member and written anew; what is not well formed is left out, never pasted.
 */
import { limits } from "./limits.ts";

/** What a call brings, and an execution keeps for everything that it calls. Texts are checked and fit into one header each. */
export interface TraceBaggage {
  readonly tracestate?: string;
  /** Members that are ids; ours (`saga.id`, `saga.step`, `correlation.id`) are put before them where it is sent. */
  readonly baggage?: string;
}

/** Just these two, of whatever carries them. */
export function carriedBy(carrier: TraceBaggage | undefined): TraceBaggage {
  if (carrier?.tracestate === undefined && carrier?.baggage === undefined) return none;
  const { tracestate, baggage } = carrier;
  return { ...(tracestate === undefined ? {} : { tracestate }), ...(baggage === undefined ? {} : { baggage }) };
}

const none: TraceBaggage = {};

const simpleKey = "[a-z][a-z0-9_*/-]{0,255}";
const tenantKey = "[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}";
const stateMember = new RegExp(`^(${simpleKey}|${tenantKey})=[\\x20-\\x2b\\x2d-\\x3c\\x3e-\\x7e]{0,255}[\\x21-\\x2b\\x2d-\\x3c\\x3e-\\x7e]$`);
const stateMembersMax = 32;

/** One bad member spoils the list (W3C Trace Context 3.3): whoever wrote it cannot be told from whoever broke it. The oldest members, at the end, give way to the length. */
export function readTracestate(header: string | null | undefined): string | undefined {
  if (!header || header.length > limits.baggageBytesMax) return undefined;
  const members = header
    .split(",")
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ""))
    .filter((member) => member !== "");
  const keys = members.map((member) => stateMember.exec(member)?.[1]);
  if (members.length > stateMembersMax || keys.includes(undefined) || new Set(keys).size < keys.length) return undefined;
  return fitting(members, stateMembersMax, limits.tracestateCharactersMax);
}

const bagKey = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
const id = /^[A-Za-z0-9._:-]{1,128}$/;
/** They say what this service knows better. */
const ours: ReadonlySet<string> = new Set(["saga.id", "saga.step", "correlation.id"]);

/** The members that are ids, without their properties; a key that comes twice counts once. */
export function readBaggage(header: string | null | undefined): string | undefined {
  if (!header || header.length > limits.baggageBytesMax) return undefined;
  const members = new Map<string, string>();
  for (const member of header.split(",")) {
    const [key = "", value = ""] = (member.split(";")[0] ?? "").split("=").map((part) => part.trim());
    if (bagKey.test(key) && id.test(value) && !ours.has(key)) members.set(key, value);
  }
  const texts = [...members].map(([key, value]) => `${key}=${value}`);
  return fitting(texts, limits.baggageMembersMax - ours.size, limits.baggageBytesMax / 2);
}

/** The baggage of one call: which step of which saga, and what came with the start. */
export function baggageOf(
  call: { readonly executionId: string; readonly stepPath: string; readonly correlationId: string },
  carried: string | undefined,
): string | undefined {
  const own = [`saga.id=${call.executionId}`, `saga.step=${encodeURIComponent(call.stepPath)}`];
  const correlation = call.correlationId === "" ? [] : [`correlation.id=${encodeURIComponent(call.correlationId)}`];
  return fitting([...own, ...correlation, ...(carried?.split(",") ?? [])], limits.baggageMembersMax, limits.baggageBytesMax);
}

/** The first members that fit; undefined where none does. */
function fitting(members: readonly string[], countMax: number, lengthMax: number): string | undefined {
  let text = "";
  for (const member of members.slice(0, countMax)) {
    const next = text === "" ? member : `${text},${member}`;
    if (next.length > lengthMax) break;
    text = next;
  }
  return text === "" ? undefined : text;
}

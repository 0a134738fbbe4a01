/**
 * `grpc_call`: one call of a gRPC method, unary or server streaming, JSON in and out. The result is the response message, or
 * the list of messages of a stream. What a status means for the saga is read after the table of saga.md §7; whether the
 * call is repeated is decided by the failure's name alone.
 */
import type { Json, JsonObject } from "../base/json.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { failedWith, integerField, objectField, textField } from "./config-fields.ts";
import { destinationOf } from "./egress/describe-target.ts";
import { parseGrpcTarget } from "./grpc-client/grpc-target.ts";
import type { DescriptorSource, GrpcStatus } from "./grpc-egress.ts";
import { metadataOf, metadataProblem } from "./grpc-metadata.ts";
import { askParticipant } from "./grpc-participant.ts";
import type { Report } from "./report.ts";
import type { StepCall, StepHandler, StepOutcome, StepServices } from "./step-handler.ts";

const messagesMax = 1_000;
const messageCharactersMax = 2_000;
/** An uploaded descriptor set, comments included. */
const descriptorFileBytesMax = 4 * 1024 * 1024;

/** With `plain_codes` a service promises that these leave no effect. */
const plainCodes = new Set(["ABORTED", "FAILED_PRECONDITION", "INVALID_ARGUMENT"]);

export const grpcCall: StepHandler = {
  type: "grpc_call",
  nature: "effect",
  fields: { target: { as: "template" }, request: { as: "template" }, metadata: { as: "template" }, descriptor_blob_id: { as: "template" } },
  secretRefs: ["bearer"],
  startToCloseMs: 30_000,
  startToCloseMsMax: 15 * 60_000,
  destination(config) {
    const origin = parseGrpcTarget(textField(config, "target") ?? "", config["plaintext"] === true);
    return origin.ok ? destinationOf(origin.value.href) : undefined;
  },
  check: checkGrpcCall,

  async run(call, services) {
    const { config } = call;
    const [target, service, method] = ["target", "service", "method"].map((name) => textField(config, name));
    const isParticipant = config["participant"] === true;
    if (target === undefined || (!isParticipant && (service === undefined || method === undefined))) {
      return failedWith(failure("EXPRESSION", "target, service or method is empty or not text"));
    }
    const metadata = metadataOf(call, objectField(config, "metadata"));
    if (!metadata.ok) return failedWith(metadata.fault);
    const bearer = await readBearer(call);
    if (!bearer.ok) return failedWith(bearer.fault);
    const plaintext = config["plaintext"] === true;
    const origin = parseGrpcTarget(target, plaintext);
    const sibling = (origin.ok && services.siblings?.headersFor(call, origin.value.href)) || {};
    const destination = {
      tenantId: call.tenantId,
      target,
      plaintext,
      metadata: { ...metadata.value, ...sibling, ...bearer.value },
      timeoutMs: call.deadlineAt - call.now(),
      signal: call.signal,
    };
    if (isParticipant) return askParticipant(call, services, destination, sibling);
    const descriptors = await findDescriptors(call, services);
    if (!descriptors.ok) return failedWith(descriptors.fault);
    const outcome = await services.grpc.call({
      ...destination,
      service: service ?? "",
      method: method ?? "",
      request: objectField(config, "request") ?? {},
      messagesMax: integerField(config, "max_messages") ?? 1,
      ...(descriptors.value ? { descriptors: descriptors.value } : {}),
    });
    return outcome.kind === "refused" ? readStatus(call, `${service}/${method}`, outcome.status) : outcome;
  },
};

/** The uploaded descriptor set, found now and read when its types are not at hand. */
async function findDescriptors(call: StepCall, { files }: StepServices): Promise<Result<DescriptorSource | undefined, Failure>> {
  const id = textField(call.config, "descriptor_blob_id");
  if (id === undefined) return ok(undefined);
  const found = await files.find(call.tenantId, id);
  if (!found.ok) return found;
  const { sizeBytes, sha256 } = found.value;
  if (sizeBytes > descriptorFileBytesMax) {
    return fail(failure("LIMIT.DESCRIPTORS", `the descriptor set has ${sizeBytes} bytes, the limit is ${descriptorFileBytesMax}; build it without comments`));
  }
  return ok({
    key: `${id} ${sha256}`,
    async read() {
      const pieces: Uint8Array[] = [];
      try {
        for await (const piece of files.read(call.tenantId, id)) pieces.push(piece);
        return ok(Buffer.concat(pieces));
      } catch {
        return fail(failure("NETWORK", `file ${id} could not be read; nothing was sent`));
      }
    },
  });
}

async function readBearer(call: StepCall): Promise<Result<Record<string, string>, Failure>> {
  const slot = textField(objectField(call.config, "bearer") ?? {}, "slot");
  const secret = slot === undefined ? ok(undefined) : await call.secrets.resolve(slot);
  if (!secret.ok || secret.value === undefined) return secret.ok ? ok({}) : secret;
  if (!/^[\u0021-\u007e]+$/.test(secret.value)) return fail(failure("SECRET.INVALID", `the secret of slot "${slot}" cannot be sent as a bearer token`));
  return ok({ authorization: `Bearer ${secret.value}` });
}

/** The failure of a status that is not OK. */
function readStatus(call: StepCall, method: string, status: GrpcStatus): StepOutcome {
  const { code, codeName, details, retryAfterMs } = status;
  const message = call.secrets.mask(status.message).slice(0, messageCharactersMax);
  const isPlain = status.isGrpc && call.config["plain_codes"] === true && plainCodes.has(codeName);
  const isRefusal = status.isGrpc && codeName === "RESOURCE_EXHAUSTED"; // a quota speaks before the service acts
  const shown: Json = { code, message, ...(details.length > 0 ? { details: [...details] } : {}) };
  return {
    kind: "failed",
    outcome: isPlain || isRefusal ? "failed" : "unknown",
    failure: failure(`GRPC.${codeName}`, `${method} answered ${codeName}${message === "" ? "" : `: ${message}`}`, shown),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

function checkGrpcCall(config: JsonObject, report: Report): void {
  const target = textField(config, "target");
  if (target === undefined) report("target", "VALIDATION_FAILED", "give the target as dns:///host:port");
  else if (!target.includes("{{")) {
    const parsed = parseGrpcTarget(target, config["plaintext"] === true);
    if (!parsed.ok) report("target", "VALIDATION_FAILED", parsed.fault);
  }
  for (const [key, value] of Object.entries(objectField(config, "metadata") ?? {})) {
    const isLiteral = typeof value === "string" && !value.includes("{{");
    const problem = metadataProblem(key, isLiteral ? value : "");
    if (problem) report(`metadata.${key}`, "VALIDATION_FAILED", problem);
  }
  const messages = integerField(config, "max_messages") ?? 1;
  if (messages < 0 || messages > messagesMax) report("max_messages", "LIMIT_EXCEEDED", `must be at most ${messagesMax}`);
  if (config["participant"] === true) {
    for (const name of ["service", "method"]) {
      if (textField(config, name) !== undefined) report(name, "VALIDATION_FAILED", "is that of SagaParticipant; leave it out");
    }
  } else if (textField(config, "service") === undefined || textField(config, "method") === undefined) {
    report("service", "VALIDATION_FAILED", "give the full name of the service and the method");
  }
  if (objectField(config, "bearer") && Object.hasOwn(objectField(config, "metadata") ?? {}, "authorization")) {
    report("metadata.authorization", "VALIDATION_FAILED", "stands beside bearer; give one credential");
  }
  if (config["participant"] === true && textField(config, "descriptor_blob_id") !== undefined) {
    report("descriptor_blob_id", "VALIDATION_FAILED", "is not needed for a participant, whose types are known; leave it out");
  }
}

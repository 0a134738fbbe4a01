/**
 * How a step acts. One file per step type exports one `StepHandler`; `registry.ts` lists them. A handler gets its
 * configuration with all templates rendered, never sees the database, and answers with an outcome instead of throwing:
 * what it throws by mistake is reported as a failure with unknown effect.
 */
import type { Clock } from "../base/clock.ts";
import type { Json, JsonObject } from "../base/json.ts";
import type { Log } from "../base/log.ts";
import type { Result } from "../base/result.ts";
import type { TraceBaggage } from "../base/trace-context.ts";
import type { OperationKind } from "../domain/command.ts";
import type { PortableExpression } from "../domain/expressions/portable-expression.ts";
import type { Failure } from "../domain/failure.ts";
import type { StepOutcome } from "../domain/step-outcome.ts";
import type { StepTypeSpec } from "../domain/step-type.ts";
import type { AttemptAbout } from "./attempt-about.ts";
import type { TokenSource } from "./auth/token-source.ts";
import type { FileJobs } from "./files/file-order.ts";
import type { GrpcEgress } from "./grpc-egress.ts";
import type { StepFiles } from "./step-files.ts";

export type { StepOutcome } from "../domain/step-outcome.ts";

export interface StepHandler extends StepTypeSpec {
  run(call: StepCall, services: StepServices): StepOutcome | Promise<StepOutcome>;
}

/** One attempt of one step. */
export interface StepCall {
  readonly tenantId: string;
  readonly executionId: string;
  readonly correlationId: string;
  readonly stepPath: string;
  /** From 1. */
  readonly attempt: number;
  /** Sent on as `saga-op`. */
  readonly operation: OperationKind;
  /** Constant over attempts, replicas and restarts. */
  readonly idempotencyKey: string;
  readonly traceparent: string | undefined;
  /** What came with the start of the execution and travels with the trace. */
  readonly carried?: TraceBaggage;
  /** The definition's fields for this type (proto field names), templates rendered. Expressions are left as source. */
  readonly config: JsonObject;
  /** Ends the attempt: timeout, cancellation, shutdown. Its reason is a `Failure`. */
  readonly signal: AbortSignal;
  /** End of this attempt, milliseconds since the epoch. */
  readonly deadlineAt: number;
  readonly secrets: AttemptSecrets;
  /** The other side takes part in a saga: 202, 409 and 425 mean that it is still at work. */
  readonly isParticipant?: boolean;
  /** An action of which an attempt before may have had its effect. */
  readonly mayHaveRun?: boolean;
  /** Undos and confirmations: what is known of the action. */
  readonly original?:
    | {
        /** Its rendered configuration, masked. */
        readonly input: Json;
        /** Its recorded result; null when its outcome is unknown. */
        readonly output: Json;
        /** There may be nothing to undo. */
        readonly mayNotHaveRun: boolean;
        /** Counts the undos of the step, from 0. */
        readonly generation: number;
      }
    | undefined;
  /** Now, by the database-synchronised clock. */
  now(): number;
  /**
   * Value of an `expression` or `deferred_template` field, by its concrete path (`operations[0].filter`), with extra
   * variables beside the usual scope.
   */
  evaluate(path: string, extra: Readonly<Record<string, Json>>): Result<Json, Failure>;
  /** The `expression` field at `path` with the variables that it reads: for a worker thread to evaluate. Undefined if it is not set. */
  portable(path: string): PortableExpression | undefined;
}

/**
 * The secrets of one attempt: read when they are sent, never before, and masked from then on in whatever the attempt comes
 * to, writes to its log or reads through `StepServices.http`. A value must not go into a result, a failure or a log line.
 */
export interface AttemptSecrets {
  /**
   * The value for the slot of a SecretRef; undefined only for an optional slot without a secret. A fault means that nothing may
   * be sent: `SECRET.MISSING`, which is not retried, or NETWORK while the secrets cannot be read.
   */
  resolve(slot: string): Promise<Result<string | undefined, Failure>>;
  /** As `resolve`, with the values that are still valid while the secret is being rotated; the current one first. */
  resolveAll(slot: string): Promise<Result<readonly string[], Failure>>;
  /** Masks one more text from now on, for example a token that was made with a secret. Short ones (below 4 characters) are left. */
  conceal(text: string): void;
  /** The text with everything resolved or concealed so far masked. To be asked before a text is cut: half a secret is not found. */
  mask(text: string): string;
}

/** The company's own services among the hosts that steps call: only they get token, tenant and baggage. */
export interface Siblings {
  /** Headers for a call to this URL; none when it is no sibling's. */
  headersFor(call: StepCall, url: string): Record<string, string>;
  /** Of these the one that asks for nothing and allows nothing: for messages that only tell. */
  baggageFor(call: StepCall, url: string): Record<string, string>;
}

export interface StepServices {
  /** Absent: no host is a sibling. */
  readonly siblings?: Siblings;
  readonly http: HttpEgress;
  readonly grpc: GrpcEgress;
  readonly tokens: TokenSource;
  readonly files: StepFiles;
  readonly fileJobs: FileJobs;
  readonly mail: MailSender;
  readonly quota: NotificationQuota;
  readonly clock: Clock;
  readonly log: Log;
}

/** One e-mail, every part of it made by us. Addresses are checked, texts have no control characters where a header could begin. */
export interface MailMessage {
  readonly to: readonly string[];
  readonly cc: readonly string[];
  readonly bcc: readonly string[];
  readonly replyTo: string | undefined;
  readonly subject: string;
  readonly text: string | undefined;
  readonly html: string | undefined;
  readonly attachments: readonly { readonly name: string; readonly mediaType: string; readonly content: () => AsyncIterable<Uint8Array> }[];
  /** Constant over attempts: receivers that keep message ids see a repeat. */
  readonly idempotencyKey: string;
  readonly correlationId: string;
}

/** The operator's SMTP server. */
export interface MailSender {
  /** The message id that it was sent under, or SMTP.<code> (SMTP.NOT_CONFIGURED without a server), NETWORK. */
  send(message: MailMessage, signal: AbortSignal): Promise<Result<{ readonly messageId: string }, MailFault>>;
}

export interface MailFault {
  readonly failure: Failure;
  /** `failed`: the server took nothing; `unknown`: it may have. */
  readonly outcome: "failed" | "unknown";
}

/** How many notifications a tenant and each of its recipients get in an hour. */
export interface NotificationQuota {
  /** Takes one for each recipient, or none: LIMIT.NOTIFICATIONS names which bound was met; NETWORK while nothing can be counted, HTTP.410 for one that is gone. */
  take(tenantId: string, recipients: readonly string[]): Promise<Result<undefined, Failure>>;
  /** The recipient said that it is gone for good: nothing is sent to it for a day. */
  gone(tenantId: string, recipient: string): Promise<void>;
}

/** The one client through which steps reach other hosts: address guard, byte caps, total deadline. */
export interface HttpEgress {
  request(request: EgressRequest): Promise<EgressOutcome>;
}

export interface EgressRequest {
  readonly tenantId: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | EgressBody;
  /** How failures and logs name the target when the URL itself is a secret, such as a chat's webhook [origin and path]. */
  readonly shownAs?: string;
  /** Cap of the decoded body. */
  readonly responseBytesMax: number;
  /** Takes the bodies of the answers that it accepts [none]. */
  readonly sink?: AnswerSink;
  /** Redirects followed, same origin only. */
  readonly redirectsMax: number;
  readonly signal: AbortSignal;
  /** Whose request it is, for the log. */
  readonly about?: AttemptAbout;
}

/** A body that is read while it is sent: once for each time that the request goes out (redirects, a renewed token). */
export interface EgressBody {
  /** Sent as content-length; exactly as many bytes have to come. */
  readonly sizeBytes: number;
  /** Throws a Failure when the source breaks off, which then is the request's. */
  read(): AsyncIterable<Uint8Array>;
}

/** An answer before its body. */
export interface AnswerHead {
  readonly status: number;
  /** Lower-case names; several values joined by `, `. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Takes bodies as they arrive, so that they need no memory. The outcome's `body` is empty then. Secrets in them are not masked. */
export interface AnswerSink {
  /** Cap of the decoded body, instead of `responseBytesMax`. */
  readonly bytesMax: number;
  accepts(head: AnswerHead): boolean;
  /**
   * Done when everything is kept; a failure is the request's. `bytes` throws a Failure when the answer breaks off, is too large or
   * the attempt ends: what came so far is to be dropped and the failure thrown on. The request waits for that.
   */
  take(head: AnswerHead, bytes: AsyncIterable<Uint8Array>): Promise<Result<unknown, Failure>>;
}

export type EgressOutcome =
  | (AnswerHead & { readonly kind: "answered"; readonly body: Buffer })
  | {
      readonly kind: "failed";
      readonly failure: Failure;
      /** `failed`: surely nothing was sent or taken; `unknown`: the other side may have acted. */
      readonly outcome: "failed" | "unknown";
    };

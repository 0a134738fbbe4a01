/**
 * Who is calling. Runs as Connect's request gate: after the headers, before a byte of the body is read. Default deny:
 * what a method asks for comes from its descriptor's policy, never from the text of its path.
 */
import type { HandlerContext } from "@connectrpc/connect";
import type { Caller } from "../../base/caller.ts";
import type { Clock } from "../../base/clock.ts";
import { AppError } from "../../base/errors.ts";
import { carriedBy } from "../../base/trace-context.ts";
import { createAttemptLimit } from "./attempt-limit.ts";
import { type Call, callerKey, ensureCall, type KeyUse, requireScope } from "./call.ts";
import { methodName, type PolicyTable } from "./policy.ts";

/** What a credential stands for. */
export interface Identity {
  readonly tenantId: string;
  /** Id of the key (`key_…`) or subject of the token. */
  readonly actor: string;
  readonly scopes: Iterable<string>;
  /** Where the credential can end while a call is open. */
  readonly use?: KeyUse;
  /** When it ends by itself; milliseconds since the epoch. */
  readonly expiresAt?: number | undefined;
}

/** Looks a credential up; throws AppError KEY_INVALID, KEY_EXPIRED, KEY_REVOKED or TENANT_SUSPENDED. */
export type Authenticate = (credential: string, peer: string) => Promise<Identity>;

export interface Auth {
  /** For rpcs: checks the credential against the method's policy and leaves a Caller in the context values. */
  gate(context: Pick<HandlerContext, "method" | "values" | "requestHeader" | "url">): Promise<void>;
  /** For plain HTTP routes: the caller of these headers, who must hold `scopes`. */
  authorize(headers: Headers, url: string, call: Call, scopes: readonly string[]): Promise<Caller>;
}

export interface AuthOptions {
  readonly policies: PolicyTable;
  readonly authenticate: Authenticate;
  readonly clock: Clock;
  /** Failed sign-ins per peer and minute; default 300. */
  readonly failuresPerMinuteMax?: number;
}

export function createAuth(options: AuthOptions): Auth {
  const attempts = createAttemptLimit(options.clock, options.failuresPerMinuteMax);

  async function authorize(headers: Headers, url: string, call: Call, scopes: readonly string[]): Promise<Caller> {
    const caller = await identify(headers, url, call);
    if (!caller) throw refusal(call, new AppError("KEY_MISSING", "Send an API key as `authorization: Bearer <key>`."));
    for (const scope of scopes) requireScope(caller, scope);
    return caller;
  }

  async function identify(headers: Headers, url: string, call: Call): Promise<Caller | undefined> {
    try {
      const credential = credentialOf(headers, url, call);
      if (credential === undefined) return undefined;
      const identity = await options.authenticate(credential, call.peer);
      call.tenantId = identity.tenantId;
      call.actor = identity.actor;
      call.keyUse = identity.use;
      return {
        tenantId: identity.tenantId,
        actor: identity.actor,
        scopes: identity.scopes instanceof Set ? identity.scopes : new Set(identity.scopes),
        correlationId: call.correlationId,
        requestId: call.requestId,
        ...(call.traceparent === undefined ? {} : { traceparent: call.traceparent }),
        ...carriedBy(call),
      };
    } catch (error) {
      throw error instanceof AppError && error.code === "UNAUTHENTICATED" ? refusal(call, error) : error;
    }
  }

  function refusal(call: Call, error: AppError): AppError {
    const retryAfterMs = attempts.fail(call.peer);
    if (retryAfterMs === undefined) return error;
    return new AppError("RATE_LIMITED", "Too many calls with a missing or wrong key came from this address. Wait, then use a valid key.", { retryAfterMs });
  }

  return {
    authorize,
    async gate(context) {
      const rule = options.policies.get(methodName(context.method));
      if (!rule) throw new AppError("FEATURE_DISABLED", `${methodName(context.method)} is not served here.`);
      const call = ensureCall(context.values, context.requestHeader);
      if (rule.access === "open") return;
      const caller =
        rule.access === "optional"
          ? await identify(context.requestHeader, context.url, call)
          : await authorize(context.requestHeader, context.url, call, rule.scopes);
      if (caller) context.values.set(callerKey, caller);
    },
  };
}

/** A credential in a URL ends in logs and histories, so it counts as leaked. */
const keyParameters = ["key", "api_key", "apikey", "x-api-key", "access_token", "authorization", "token"];
const credentialCharactersMax = 8 * 1024;

function credentialOf(headers: Headers, url: string, call: Call): string | undefined {
  const query = url.indexOf("?");
  if (query >= 0) {
    const parameters = new URLSearchParams(url.slice(query + 1));
    if (keyParameters.some((name) => parameters.has(name))) {
      throw new AppError("KEY_INVALID", "A key must not stand in the URL. Send it as `authorization: Bearer <key>` and replace the key that was shown.");
    }
  }
  const authorization = headers.get("authorization");
  const bearer = authorization === null ? undefined : /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization)?.[1];
  if (authorization !== null && bearer === undefined) {
    throw new AppError("KEY_INVALID", "The authorization header must read `Bearer <key>`.");
  }
  const apiKey = headers.get("x-api-key")?.trim();
  if (call.ambiguousCredential || (bearer !== undefined && apiKey !== undefined && bearer !== apiKey)) {
    throw new AppError("KEY_INVALID", "The call carries two different credentials. Send one.");
  }
  const credential = bearer ?? apiKey;
  if (credential !== undefined && (credential === "" || credential.length > credentialCharactersMax)) {
    throw new AppError("KEY_INVALID", "The key is empty or longer than any key of ours. Check how it is sent.");
  }
  return credential;
}

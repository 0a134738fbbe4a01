/**
 * The environment, read once into a frozen configuration: the only place that looks at `process.env`. All faults are
 * reported together, and an unknown PAWF_ name is refused with the nearest known one.
 */
import path from "node:path";
import { messageOf } from "./base/errors.ts";
import { limits } from "./base/limits.ts";
import { checkTarget } from "./steps/egress/egress-rules.ts";
import { siblingAddress } from "./steps/siblings.ts";

export interface Config {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Undefined: embedded PostgreSQL in the data folder. */
  readonly databaseUrl: string | undefined;
  /** Undefined: replicas share nothing but the database. May hold a password. */
  readonly redisUrl: string | undefined;
  readonly dataDir: string;
  readonly logLevel: "debug" | "info" | "warn" | "error" | "silent";
  readonly logFormat: "json" | "pretty";
  readonly reflection: "public" | "auth" | "off";
  /** Private targets that steps may call: `host:port`, `cidr:port`, `host:*`. */
  readonly egressAllow: readonly string[];
  /** Hosts of our own siblings, `host:port`: they get token, tenant and baggage with each call. */
  readonly siblings: readonly string[];
  /** How long a stop waits for open calls, in milliseconds. */
  readonly drainMs: number;
  /** Validity of this replica's lease, in milliseconds. */
  readonly leaseMs: number;
  /** Key for tenant `default`, made by whoever deploys; undefined: one is made at the first start of an embedded server. */
  readonly adminKey: string | undefined;
  /** Wraps the keys of secrets and of the server, any text; undefined: one is kept in the data folder. */
  readonly masterKey: string | undefined;
  /** Further master keys that open what they once wrapped. */
  readonly masterKeyRing: readonly string[];
  /** One JSON line on standard output once the server answers, for programs that start it. */
  readonly readyJson: boolean;
  /** Serve although the database would lose acknowledged work in a crash. */
  readonly allowUnsafeDatabase: boolean;
  /** Where finished files are put; undefined: into PostgreSQL. */
  readonly s3: S3Config | undefined;
  /** Where e-mails go out; undefined: nowhere. */
  readonly smtp: SmtpConfig | undefined;
  /** Longest time that ended executions are kept, in days; undefined: what definitions say, or the defaults. */
  readonly retentionDays: number | undefined;
  /** How long deleted workflows and templates are kept, in days; 0: for ever. */
  readonly deletedDays: number;
  /** Streams of tasks that one tenant may hold open at this replica. */
  readonly taskStreamsMax: number;
  /** What is exported over OpenTelemetry; undefined: nothing, and its SDK is not loaded. */
  readonly telemetry: TelemetryConfig | undefined;
}

export interface TelemetryConfig {
  readonly traces: "otlp" | "console" | "none";
  readonly metrics: "otlp" | "none";
  readonly sampler: (typeof samplers)[number];
  /** For the samplers that take a share, 0 to 1. */
  readonly samplerRatio: number;
}

const samplers = ["parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio", "always_on", "always_off", "traceidratio"] as const;

export interface SmtpConfig {
  readonly url: string;
  readonly from: string;
  readonly tls: "required" | "off";
}

export interface S3Config {
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

interface Setting {
  readonly describe: string;
}

/** Every name the service knows, with default and range: the reference in docs/configuration.md is made of it. */
export const settings: Readonly<Record<string, Setting>> = {
  HOST: { describe: "address to listen on [127.0.0.1 with embedded PostgreSQL, else 0.0.0.0]" },
  PORT: { describe: "port, 0 takes a free one [8006; 0–65535]" },
  DATABASE_URL: { describe: "PostgreSQL 15 or later; absent = embedded PostgreSQL in the data folder" },
  REDIS_URL: { describe: "redis:// or rediss:// shared by all replicas: carries their news and a cache; only speed depends on it [none]" },
  PAWF_DATA_DIR: { describe: "folder of the embedded PostgreSQL and the generated keys [./.pawf]" },
  PAWF_LOG_LEVEL: { describe: "debug, info, warn, error or silent [info; warn with embedded PostgreSQL on a terminal]" },
  PAWF_LOG_FORMAT: { describe: "json or pretty [pretty on a terminal, else json]" },
  PAWF_REFLECTION: { describe: "public, auth or off [public with embedded PostgreSQL, else auth]" },
  PAWF_EGRESS_ALLOW: { describe: "private targets that steps may call, comma-separated host:port or CIDR:port entries [none]" },
  PAWF_SIBLINGS: { describe: "sibling services, comma-separated host:port entries; they alone get token, tenant and baggage with each call [none]" },
  PAWF_DRAIN_SECONDS: { describe: "how long a stop waits for open calls [10; 0–20]" },
  PAWF_LEASE_SECONDS: {
    describe: "silence of a replica after which others take over what it drives; a killed one is noticed at once [5; 4–120]",
  },
  PAWF_ADMIN_KEY: { describe: "API key pawf_<id>_<secret> for tenant default with all scopes [embedded: generated and printed]" },
  PAWF_MASTER_KEY: {
    describe: "secret text of at least 16 characters that wraps the keys of secrets, key hashes and page tokens [embedded: generated in the data folder]",
  },
  PAWF_MASTER_KEY_RING: { describe: "further master keys that open what they once wrapped, comma-separated; for changing the master key [none]" },
  PAWF_S3_ENDPOINT: {
    describe: "https://host[:port] of S3-compatible storage for finished files; the next four belong to it [none: files stay in PostgreSQL]",
  },
  PAWF_S3_BUCKET: { describe: "bucket that files are put into" },
  PAWF_S3_REGION: { describe: "region that requests are signed for [us-east-1]" },
  PAWF_S3_ACCESS_KEY_ID: { describe: "access key" },
  PAWF_S3_SECRET_ACCESS_KEY: { describe: "its secret" },
  PAWF_SMTP_URL: {
    describe: "smtp://[user:password@]host[:587] (STARTTLS) or smtps://[user:password@]host[:465] for notifications by e-mail [none: e-mail fails]",
  },
  PAWF_SMTP_FROM: { describe: "address that e-mails come from; belongs to PAWF_SMTP_URL" },
  PAWF_SMTP_TLS: { describe: "required or off; off sends without encryption, for a server on the same machine [required]" },
  PAWF_READY_JSON: { describe: "1 prints one JSON line on standard output when the server answers [0]" },
  PAWF_ALLOW_UNSAFE_DATABASE: { describe: "1 serves although the database's settings would lose acknowledged work [0]" },
  PAWF_TASK_STREAMS_MAX: { describe: "streams of tasks that one tenant may hold open at this replica [1000; 1–10000]" },
  PAWF_RETENTION_DAYS: {
    describe: "longest time that ended executions are kept [what the definition says, else 30 after COMPLETED and 90 after other ends; 1–3660]",
  },
  PAWF_DELETED_DAYS: {
    describe:
      "how long deleted workflows and templates can be taken back; then they are removed unless something refers to them [30; 0 = for ever, else 30–3660]",
  },
  OTEL_EXPORTER_OTLP_ENDPOINT: { describe: "collector that spans and metrics are sent to as http/protobuf [none: nothing is sent]" },
  OTEL_TRACES_EXPORTER: { describe: "otlp, console or none [otlp with an endpoint, else none]" },
  OTEL_METRICS_EXPORTER: { describe: "otlp or none; /metrics is served either way [otlp with an endpoint, else none]" },
  OTEL_TRACES_SAMPLER: { describe: `${samplers.slice(0, -1).join(", ")} or ${samplers.at(-1)} [${samplers[0]}]` },
  OTEL_TRACES_SAMPLER_ARG: { describe: "share of traces that the traceidratio samplers keep [1; 0–1]" },
  OTEL_SDK_DISABLED: { describe: "true exports nothing whatever else is set [false]" },
};

/** Names of clients and of the demo, which may stand in the same environment. */
const clientNames: ReadonlySet<string> = new Set(["PAWF_URL", "PAWF_API_KEY"]);

/** Throws one Error that lists everything that is wrong. */
export function readConfig(environment: Readonly<Record<string, string | undefined>>, isTerminal: boolean): Config {
  const faults = unknownNames(environment);
  const text = (name: string): string | undefined => environment[name]?.trim() || undefined;
  const number = (name: string, otherwise: number, min: number, max: number): number => {
    const value = text(name);
    if (value === undefined) return otherwise;
    const parsed = Number(value);
    if (Number.isFinite(parsed) && parsed >= min && parsed <= max) return parsed;
    faults.push(`${name} must be a number from ${min} to ${max}, not "${value}"`);
    return otherwise;
  };
  const wholeNumber = (name: string, otherwise: number, min: number, max: number): number => {
    const value = number(name, otherwise, min, max);
    if (!Number.isInteger(value)) faults.push(`${name} must be a whole number, not ${value}`);
    return value;
  };
  const choice = <Choice extends string>(name: string, choices: readonly Choice[], otherwise: Choice): Choice => {
    const value = text(name);
    if (value === undefined) return otherwise;
    if (choices.includes(value as Choice)) return value as Choice;
    faults.push(`${name} must be one of ${choices.join(", ")}, not "${value}"`);
    return otherwise;
  };
  const entries = (name: string, check: (entry: string) => unknown): string[] => {
    const list = listOf(text(name));
    for (const entry of list) {
      try {
        check(entry);
      } catch (error) {
        faults.push(`${name}: ${messageOf(error)}`);
      }
    }
    return list;
  };
  const databaseUrl = text("DATABASE_URL");
  if (databaseUrl !== undefined && !/^postgres(?:ql)?:\/\/./.test(databaseUrl)) faults.push("DATABASE_URL must begin with postgres:// or postgresql://");
  const embedded = databaseUrl === undefined || databaseUrl.includes("@%2F");
  const masterKey = text("PAWF_MASTER_KEY");
  if (masterKey !== undefined && masterKey.length < masterKeyCharactersMin) {
    faults.push(`PAWF_MASTER_KEY must have at least ${masterKeyCharactersMin} characters`);
  }
  const masterKeyRing = ringOf(text("PAWF_MASTER_KEY_RING"));
  if (masterKeyRing?.length === 0) faults.push("PAWF_MASTER_KEY_RING must list keys of at least 16 characters");
  const redisUrl = text("REDIS_URL");
  if (redisUrl !== undefined && !/^rediss?:\/\/[^/]/.test(redisUrl)) faults.push("REDIS_URL must begin with redis:// or rediss:// and name a host");
  const config: Config = {
    host: text("HOST") ?? (embedded ? "127.0.0.1" : "0.0.0.0"),
    port: wholeNumber("PORT", 8006, 0, 65_535),
    databaseUrl,
    redisUrl,
    dataDir: path.resolve(text("PAWF_DATA_DIR") ?? ".pawf"),
    logLevel: choice("PAWF_LOG_LEVEL", ["debug", "info", "warn", "error", "silent"], isTerminal && embedded ? "warn" : "info"),
    logFormat: choice("PAWF_LOG_FORMAT", ["json", "pretty"], isTerminal ? "pretty" : "json"),
    reflection: choice("PAWF_REFLECTION", ["public", "auth", "off"], embedded ? "public" : "auth"),
    egressAllow: entries("PAWF_EGRESS_ALLOW", checkTarget),
    siblings: entries("PAWF_SIBLINGS", siblingAddress),
    drainMs: number("PAWF_DRAIN_SECONDS", 10, 0, 20) * 1000,
    leaseMs: number("PAWF_LEASE_SECONDS", limits.leaseMsDefault / 1_000, limits.leaseMsMin / 1_000, limits.leaseMsMax / 1_000) * 1_000,
    adminKey: text("PAWF_ADMIN_KEY"),
    masterKey,
    masterKeyRing: masterKeyRing ?? [],
    readyJson: choice("PAWF_READY_JSON", ["0", "1"], "0") === "1",
    allowUnsafeDatabase: choice("PAWF_ALLOW_UNSAFE_DATABASE", ["0", "1"], "0") === "1",
    s3: readS3(text, faults),
    smtp: readSmtp(text, choice, faults),
    taskStreamsMax: wholeNumber("PAWF_TASK_STREAMS_MAX", limits.taskStreamsPerTenantMax, 1, limits.taskStreamsMax),
    retentionDays: text("PAWF_RETENTION_DAYS") === undefined ? undefined : number("PAWF_RETENTION_DAYS", 30, 1, 3_660),
    deletedDays: wholeNumber("PAWF_DELETED_DAYS", deletedDaysMin, 0, 3_660),
    telemetry: readTelemetry(text, choice, number),
  };
  if (config.deletedDays > 0 && config.deletedDays < deletedDaysMin)
    faults.push(`PAWF_DELETED_DAYS must be 0 or at least ${deletedDaysMin}: so long the contract promises that a deletion can be taken back`);
  if (faults.length > 0) throw new Error(`The configuration is not usable:\n  ${faults.join("\n  ")}`);
  return Object.freeze(config);
}

const masterKeyCharactersMin = 16;
const deletedDaysMin = 30;

/** The whole text is tried too: a key is any text and may hold a comma. */
function ringOf(text: string | undefined): readonly string[] | undefined {
  if (text === undefined) return undefined;
  const keys = [...text.split(",").map((key) => key.trim()), text];
  return [...new Set(keys)].filter((key) => key.length >= masterKeyCharactersMin);
}

function listOf(value: string | undefined): string[] {
  return (value ?? "")
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

type Read = (name: string) => string | undefined;
type ReadChoice = <Choice extends string>(name: string, choices: readonly Choice[], otherwise: Choice) => Choice;
type ReadNumber = (name: string, otherwise: number, min: number, max: number) => number;

/** The exporters read their own OTEL_EXPORTER_OTLP_ settings; here is only what decides whether they are loaded. */
function readTelemetry(text: Read, choice: ReadChoice, number: ReadNumber): TelemetryConfig | undefined {
  if (choice("OTEL_SDK_DISABLED", ["false", "true"], "false") === "true") return undefined;
  const endpoint = (signal: string): boolean =>
    text("OTEL_EXPORTER_OTLP_ENDPOINT") !== undefined || text(`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`) !== undefined;
  const telemetry: TelemetryConfig = {
    traces: choice("OTEL_TRACES_EXPORTER", ["otlp", "console", "none"], endpoint("TRACES") ? "otlp" : "none"),
    metrics: choice("OTEL_METRICS_EXPORTER", ["otlp", "none"], endpoint("METRICS") ? "otlp" : "none"),
    sampler: choice("OTEL_TRACES_SAMPLER", samplers, "parentbased_always_on"),
    samplerRatio: number("OTEL_TRACES_SAMPLER_ARG", 1, 0, 1),
  };
  if (telemetry.traces === "none" && telemetry.metrics === "none") return undefined;
  // Another protocol usually means another port, where these bytes would be lost without a word.
  choice("OTEL_EXPORTER_OTLP_PROTOCOL", ["http/protobuf"], "http/protobuf");
  return telemetry;
}

function unknownNames(environment: Readonly<Record<string, string | undefined>>): string[] {
  return Object.keys(environment).flatMap((name) => {
    if (!name.startsWith("PAWF_") || name in settings || clientNames.has(name)) return [];
    const nearest = Object.keys(settings)
      .filter((known) => known.startsWith("PAWF_"))
      .sort((a, b) => distance(name, a) - distance(name, b))[0];
    return [`${name} is not a setting; did you mean ${nearest}?`];
  });
}

/** Edit distance (Levenshtein), row by row. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

/** All of it or nothing: half a configuration would keep some files here and some there. */
function readS3(text: (name: string) => string | undefined, faults: string[]): S3Config | undefined {
  const [endpoint, bucket, accessKeyId, secretAccessKey] = s3Names.map(text);
  if (!endpoint && !bucket && !accessKeyId && !secretAccessKey) return undefined;
  const missing = s3Names.filter((name) => !text(name));
  if (missing.length > 0) faults.push(`${missing.join(", ")} must be given too, or none of the PAWF_S3_ names`);
  else if (!/^https?:\/\/[^/?#]+\/?$/.test(endpoint as string)) faults.push("PAWF_S3_ENDPOINT must be https://host[:port]");
  if (!endpoint || !bucket || !accessKeyId || !secretAccessKey) return undefined;
  return { endpoint, bucket, accessKeyId, secretAccessKey, region: text("PAWF_S3_REGION") ?? "us-east-1" };
}

const s3Names = ["PAWF_S3_ENDPOINT", "PAWF_S3_BUCKET", "PAWF_S3_ACCESS_KEY_ID", "PAWF_S3_SECRET_ACCESS_KEY"];

function readSmtp(
  text: (name: string) => string | undefined,
  choice: <Choice extends string>(name: string, choices: readonly Choice[], otherwise: Choice) => Choice,
  faults: string[],
): SmtpConfig | undefined {
  const [url, from] = [text("PAWF_SMTP_URL"), text("PAWF_SMTP_FROM")];
  const tls = choice("PAWF_SMTP_TLS", ["required", "off"], "required");
  if (!url && !from) return undefined;
  if (!url || !from) faults.push(`${url ? "PAWF_SMTP_FROM" : "PAWF_SMTP_URL"} must be given too, or neither of the two`);
  // The address is not repeated in a fault: it may hold a password.
  else if (!URL.canParse(url) || !/^smtps?:$/.test(new URL(url).protocol)) faults.push("PAWF_SMTP_URL must be smtp://host or smtps://host");
  if (from && !/^[^\s@<>"]+@[^\s@<>"]+$/.test(from)) faults.push("PAWF_SMTP_FROM must be one e-mail address");
  return url && from ? { url, from, tls } : undefined;
}

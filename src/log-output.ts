/** Where log lines go: JSON for machines, one readable line on a terminal. Both on standard error, if nobody says otherwise; standard output is data. */
import { Writable } from "node:stream";
import { pino } from "pino";
import type { Log } from "./base/log.ts";
import type { Config } from "./config.ts";

export function createLog(config: Pick<Config, "logLevel" | "logFormat">, version: string, output: NodeJS.WritableStream = process.stderr): Log {
  const destination = config.logFormat === "json" ? output : prettyStream(output);
  return wrap(
    pino(
      {
        level: config.logLevel,
        base: { service: "pyairtable-workflow", version },
        messageKey: "msg",
        timestamp: () => `,"time":"${new Date().toISOString()}"`,
        formatters: { level: (label) => ({ level: label }) },
        serializers: { err: errorFields, error: errorFields },
      },
      destination,
    ),
  );
}

interface PinoLike {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(fields: object): PinoLike;
}

function wrap(logger: PinoLike): Log {
  return {
    debug: (fields, message) => logger.debug(spelled(fields), message),
    info: (fields, message) => logger.info(spelled(fields), message),
    warn: (fields, message) => logger.warn(spelled(fields), message),
    error: (fields, message) => logger.error(spelled(fields), message),
    child: (fields) => wrap(logger.child(spelled(fields))),
  };
}

/** As the reader of a log searches for them, whoever wrote the line; all others stay as they are. */
const spellings: Readonly<Record<string, string>> = {
  executionId: "execution_id",
  correlationId: "correlation_id",
  tenantId: "tenant_id",
  requestId: "request_id",
  durationMs: "duration_ms",
};

function spelled(fields: object): object {
  const names = Object.keys(fields);
  if (!names.some((name) => spellings[name] !== undefined)) return fields;
  return Object.fromEntries(names.map((name) => [spellings[name] ?? name, (fields as Record<string, unknown>)[name]]));
}

/** Bounded, so that one error with a huge message cannot flood the log. */
const textCharactersMax = 8_000;

function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const cause = error.cause instanceof Error ? { cause: error.cause.message.slice(0, textCharactersMax) } : {};
  return { name: error.name, message: error.message.slice(0, textCharactersMax), stack: error.stack?.slice(0, textCharactersMax), ...cause };
}

function prettyStream(target: NodeJS.WritableStream): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString("utf8").split("\n")) if (line !== "") target.write(`${prettyLine(line)}\n`);
      done();
    },
  });
}

function prettyLine(line: string): string {
  const { level, time, msg, service: _service, version: _version, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const rest = Object.entries(fields).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return [String(time).slice(11, 23), String(level).toUpperCase().padEnd(5), msg, ...rest].join(" ");
}

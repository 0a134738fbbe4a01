/**
 * The composition root: builds the house from the ground up and hands each part what it needs. `serve.ts` starts it from the
 * environment, tests with their own parts.
 */
import type { Tracer } from "@opentelemetry/api";
import { buildEngine, type EngineRoom } from "./app/engine-room.ts";
import { buildFront } from "./app/front.ts";
import { buildGround } from "./app/ground.ts";
import type { Site } from "./app/site.ts";
import { startWork } from "./app/start-work.ts";
import { type Clock, systemClock } from "./base/clock.ts";
import { correlatedLog, KnownCorrelations } from "./base/correlated-log.ts";
import type { Log } from "./base/log.ts";
import { Metrics } from "./base/metrics.ts";
import type { Config } from "./config.ts";
import { createInstruments } from "./telemetry/instruments.ts";
import { ProcessHistory } from "./telemetry/process-history.ts";

export interface App {
  readonly port: number;
  /** Of tenant `default`; undefined when others manage the keys. */
  readonly apiKey: string | undefined;
  readonly database: { readonly version: string; readonly embedded: boolean; readonly adopted: boolean; readonly url: string };
  /** Names of the migrations that this start applied. */
  readonly migrated: readonly string[];
  readonly templates: number;
  /** Ends open calls, hands executions over, closes everything. May be called twice. */
  stop(): Promise<void>;
}

export interface AppOptions {
  readonly config: Config;
  readonly log: Log;
  readonly version: string;
  readonly clock?: Clock;
  /** Where everything is counted; given when somebody besides /metrics reads it. */
  readonly metrics?: Metrics;
  /** Records spans; absent: none, and the trace context is handed on all the same. */
  readonly tracer?: Tracer | undefined;
}

export async function startApp({ config, log, version, clock = systemClock, metrics = new Metrics(), tracer }: AppOptions): Promise<App> {
  const closers: (() => Promise<void>)[] = [];
  const stop = onceAsync(async () => {
    for (const close of closers.reverse()) await close();
  });
  const correlations = new KnownCorrelations();
  const instruments = createInstruments(metrics);
  const site: Site = {
    config,
    log: correlatedLog(log, correlations),
    correlations,
    version,
    clock,
    metrics,
    instruments,
    history: new ProcessHistory(instruments, clock),
    tracer,
    onStop: (close) => closers.push(close),
  };
  try {
    return { ...(await build(site)), stop };
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
}

async function build(site: Site): Promise<Omit<App, "stop">> {
  let room: EngineRoom | undefined;
  const ground = await buildGround(site, (payload) => room?.news.receive(payload));
  room = await buildEngine(site, ground);
  const { port, apiKey } = await buildFront(site, ground, room);
  startWork(site, ground, room);
  const { database, embedded, url, migrated, builtIns } = ground;
  return {
    port,
    apiKey,
    database: { version: versionText(database.serverVersion), embedded: embedded !== undefined, adopted: embedded?.adopted ?? false, url },
    migrated,
    templates: builtIns.length,
  };
}

function versionText(serverVersion: number): string {
  return `${Math.floor(serverVersion / 10_000)}.${serverVersion % 10_000}`;
}

function onceAsync(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => (running ??= run());
}

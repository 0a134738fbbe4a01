/**
 * Every metric of the service, declared once. `docs/metrics.md` lists the same names (a test compares), and dashboards and
 * alert rules may use no others. Labels are closed lists: never ids, names of tenants' things, or tenants.
 */
import type { Counter, Histogram, Labelled, Metrics } from "../base/metrics.ts";
import { openSagaStates } from "../domain/states.ts";
import type { DestinationObserver } from "../engine/destinations.ts";
import type { RetentionObserver } from "../engine/retention.ts";
import type { JournalObserver } from "../store/batched-journal.ts";
import type { Backlog } from "../store/sql/read-backlog.ts";
import type { TaskTotals } from "../store/sql/task-queues.ts";

const prefix = "pyairtable_workflow_";

/** From what a commit takes to what a person waits for. */
const secondsShort = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const secondsLong = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1_800, 3_600, 21_600, 86_400, 604_800];
const rows = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

export interface Instruments {
  readonly executionsStarted: Counter;
  readonly executionsFinished: Labelled<Counter>;
  readonly executionSeconds: Histogram;
  readonly stepsFinished: Labelled<Counter>;
  readonly stepSeconds: Labelled<Histogram>;
  readonly stepOverheadSeconds: Labelled<Histogram>;
  readonly sagaCoordinationSeconds: Histogram;
  readonly stepRetries: Labelled<Counter>;
  readonly attemptsPostponed: Labelled<Counter>;
  readonly undoAttempts: Labelled<Counter>;
  readonly sagaAnomalies: Labelled<Counter>;
  readonly breakersOpened: Counter;
  readonly executionsWoken: Counter;
  readonly journalBatchSize: Histogram;
  readonly journalCommitSeconds: Histogram;
  readonly staleWritesRefused: Counter;
  readonly executionsTakenOver: Counter;
  readonly retentionDeletedExecutions: Counter;
  readonly retentionDeletedEvents: Counter;
  readonly retentionSeconds: Histogram;
  readonly rowsLeftOut: Labelled<Counter>;
  readonly tasksTaken: Counter;
  readonly tasksExpired: Labelled<Counter>;
  readonly rpcSeconds: Labelled<Histogram>;
  readonly cacheReads: Labelled<Counter>;
  readonly redisFailures: Counter;
  readonly eventLoopDelaySeconds: Histogram;
}

export function createInstruments(metrics: Metrics): Instruments {
  const counter = (name: string, help: string): Counter => metrics.counter({ name: `${prefix}${name}`, help });
  const counters = (name: string, help: string, labels: readonly string[]): Labelled<Counter> => metrics.counters({ name: `${prefix}${name}`, help, labels });
  const histogram = (name: string, help: string, bounds: readonly number[]): Histogram => metrics.histogram({ name: `${prefix}${name}`, help, bounds });
  const histograms = (name: string, help: string, bounds: readonly number[], labels: readonly string[]): Labelled<Histogram> =>
    metrics.histograms({ name: `${prefix}${name}`, help, bounds, labels });
  return {
    executionsStarted: counter("executions_started_total", "Executions whose first event became durable here."),
    executionsFinished: counters("executions_finished_total", "Executions that reached a terminal state here.", ["state"]),
    executionSeconds: histogram("execution_duration_seconds", "From the creation of an execution to its end, waits included.", secondsLong),
    stepsFinished: counters("steps_finished_total", "Steps that reached a final state here, by type.", ["type", "state"]),
    stepSeconds: histograms(
      "step_duration_seconds",
      "From the first attempt of a step to its final outcome, retries and waits included.",
      [...secondsShort, 60, 600],
      ["type"],
    ),
    stepOverheadSeconds: histograms(
      "step_overhead_seconds",
      "What the engine adds to a step: from the turn that started it until its outcome is durable, less the time its handler ran.",
      secondsShort,
      ["type"],
    ),
    sagaCoordinationSeconds: histogram(
      "saga_coordination_seconds",
      "From the answer of one effect or participant to the sending of the next one that follows from it, the commit between them included.",
      secondsShort,
    ),
    stepRetries: counters("step_retries_total", "Attempts that failed and will be repeated, undo attempts too, by class of error.", ["type", "reason"]),
    attemptsPostponed: counters("attempts_postponed_total", "Attempts put back before they were made: breaker_open, or concurrency of their destination.", [
      "reason",
    ]),
    undoAttempts: counters("undo_attempts_total", "Attempts of undos that were answered, by outcome: succeeded, in_progress or failed.", ["outcome"]),
    sagaAnomalies: counters("saga_anomalies_total", "What a participant said that contradicts the record: late_success or contradictory_report.", ["kind"]),
    breakersOpened: counter("breakers_opened_total", "Times that a circuit breaker of this replica opened."),
    executionsWoken: counter("executions_woken_total", "Executions out of memory that were told that a participant they wait for answers again."),
    journalBatchSize: histogram("journal_batch_size", "Events written by one journal statement.", rows),
    journalCommitSeconds: histogram("journal_commit_seconds", "One journal statement, from sending it to knowing that it is durable.", secondsShort),
    staleWritesRefused: counter("journal_stale_writes_refused_total", "Appends that the fence refused because another replica had taken over."),
    executionsTakenOver: counter("executions_taken_over_total", "Executions of dead replicas that this one freed."),
    retentionDeletedExecutions: counter("retention_deleted_executions_total", "Ended executions deleted because their time of keeping was over."),
    retentionDeletedEvents: counter("retention_deleted_events_total", "Events deleted with them."),
    retentionSeconds: histogram("retention_transaction_seconds", "One transaction of the deletion.", secondsShort),
    rowsLeftOut: counters(
      "rows_left_out_total",
      "Rows that work in batches went past because they failed each time, by the kind of work; the log names them.",
      ["kind"],
    ),
    tasksTaken: counter("tasks_taken_total", "Tasks that this replica handed to workers."),
    tasksExpired: counters("tasks_expired_total", "Tasks that were given up: nobody took them, or their worker was silent or too slow.", ["reason"]),
    cacheReads: counters("cache_reads_total", "Reads of what never changes, by cache (compiled, versions, redis) and result (hit, miss, invalid).", [
      "cache",
      "result",
    ]),
    redisFailures: counter("redis_failures_total", "Commands that Redis did not answer, or not in time."),
    rpcSeconds: metrics.histograms({
      name: "rpc_server_call_duration_seconds",
      help: "Calls of rpcs, from the headers to the end of the answer; streams as long as they stay open.",
      bounds: secondsShort,
      labels: ["rpc_method", "rpc_status_code"],
    }),
    eventLoopDelaySeconds: metrics.histogram({
      name: "nodejs_eventloop_delay_seconds",
      help: "How much later than asked a timer fired, looked at five times a second.",
      bounds: secondsShort,
    }),
  };
}

export function createJournalObserver({ journalBatchSize, journalCommitSeconds, staleWritesRefused }: Instruments): JournalObserver {
  return {
    written(events, durationMs) {
      journalBatchSize.record(events);
      journalCommitSeconds.record(durationMs / 1000);
    },
    refused: (appends) => staleWritesRefused.add(appends),
  };
}

export function createDestinationObserver({ attemptsPostponed, breakersOpened }: Instruments): DestinationObserver {
  return { opened: () => breakersOpened.add(), postponed: (reason) => attemptsPostponed.of(reason).add() };
}

export function createRetentionObserver({ retentionDeletedExecutions, retentionDeletedEvents, retentionSeconds }: Instruments): RetentionObserver {
  return {
    deleted(executions, events, durationMs) {
      retentionDeletedExecutions.add(executions);
      retentionDeletedEvents.add(events);
      retentionSeconds.record(durationMs / 1000);
    },
  };
}

/** What is read when somebody collects. */
export interface Gauges {
  readonly executionsDriven: () => number;
  readonly watchersActive: () => number;
  readonly leaseHeld: () => boolean;
  readonly journalBacklogRows: () => number;
  /** Breakers by state, closed ones left out. */
  readonly breakers: () => ReadonlyMap<string, number>;
  readonly destinationsWaiting: () => number;
  /** Asks the database. */
  readonly backlog: () => Promise<Backlog>;
  /** Asks the database. */
  readonly tasks: () => Promise<TaskTotals>;
}

export function registerGauges(metrics: Metrics, gauges: Gauges, build: { readonly version: string; readonly node: string }): void {
  const gauge = (name: string, help: string, read: () => number | Promise<number>): void => metrics.gauge({ name: `${prefix}${name}`, help }, read);
  // Several gauges of one collection share one question.
  let asked: Promise<Backlog> | undefined;
  const backlog = (): Promise<Backlog> => {
    asked ??= gauges.backlog().finally(() => (asked = undefined));
    return asked;
  };
  let tasksAsked: Promise<TaskTotals> | undefined;
  const tasks = (): Promise<TaskTotals> => {
    tasksAsked ??= gauges.tasks().finally(() => (tasksAsked = undefined));
    return tasksAsked;
  };
  gauge("tasks_waiting", "Tasks that wait for a worker, in the whole service.", async () => (await tasks()).waiting);
  gauge("tasks_taken", "Tasks that workers have, in the whole service.", async () => (await tasks()).taken);
  gauge("tasks_oldest_age_seconds", "How long the oldest waiting task has been waiting.", async () => (await tasks()).oldestSeconds);
  gauge("executions_driven", "Executions in the memory of this replica.", gauges.executionsDriven);
  gauge("watchers_active", "Executions with an open watch on this replica.", gauges.watchersActive);
  gauge("leases_held", "1 while this replica may drive executions.", () => (gauges.leaseHeld() ? 1 : 0));
  gauge("journal_backlog_rows", "Rows that wait for the journal.", gauges.journalBacklogRows);
  metrics.gauge(
    { name: `${prefix}breakers`, help: "Circuit breakers of this replica that are not closed, by state: open or half_open.", label: "state" },
    gauges.breakers,
  );
  gauge("destination_waiting", "Attempts that wait in memory until fewer calls to their destination are under way.", gauges.destinationsWaiting);
  gauge("queue_ready", "Due executions that no replica drives, in the whole service.", async () => (await backlog()).ready);
  gauge("queue_oldest_age_seconds", "How long the oldest of them has been due.", async () => (await backlog()).oldestAgeSeconds);
  gauge("sagas_stuck", "Sagas that wait for a human, in the whole service.", async () => (await backlog()).sagasStuck);
  metrics.gauge(
    {
      name: `${prefix}sagas_active`,
      help: "Open sagas by state, workflows' executions too, in the whole service; the oldest 10,000 of each tenant.",
      label: "state",
    },
    async () => {
      const { sagasOpen } = await backlog();
      return new Map(openSagaStates.map((state) => [state, sagasOpen[state] ?? 0]));
    },
  );
  gauge("sagas_oldest_age_seconds", "Age of the oldest open saga, in the whole service.", async () => (await backlog()).oldestSagaSeconds);
  metrics.info({ name: `${prefix}build_info`, help: "Always 1." }, build);
  metrics.observedCounter({ name: "process_cpu_seconds_total", help: "Processor time of the process, user and system." }, () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  metrics.gauge({ name: "process_resident_memory_bytes", help: "Memory of the process." }, () => process.memoryUsage.rss());
  metrics.gauge({ name: "nodejs_eventloop_utilization_ratio", help: "Share of its life that the event loop was busy, 0 to 1." }, () => {
    return performance.eventLoopUtilization().utilization;
  });
}

/**
 * Statistics of a tenant's executions and steps, read when somebody asks: nothing is written for them. What one answer may read is
 * bounded in rows, so a tenant with more gets the newest part of its window and is told from when on.
 */
import type { Pool, PoolClient } from "pg";
import type { Caller } from "../base/caller.ts";
import { formatId, parseId, uuidV7 } from "../base/ids.ts";
import type { ExecutionStatus, StepStatus } from "../domain/states.ts";
import type { ExecutionGroup } from "../domain/stats/execution-stats.ts";
import type { StepFailureGroup, StepGroup } from "../domain/stats/step-stats.ts";
import { guarded } from "./database-error.ts";
import { readListing } from "./listing.ts";
import { type ExecutionGroupRow, type PageParameters, readExecutionGroups, readStepGroups } from "./sql/execution-stats.ts";
import { listReplicas } from "./sql/list-replicas.ts";
import { type ActivityEdges, readActivity, readActivityEdges, readTenantBacklog, type TenantBacklog } from "./sql/tenant-activity.ts";
import { isoOf } from "./sql/usage-cells.ts";

export interface StatsSelection {
  /** Milliseconds since the epoch; `to` is not part of it. */
  readonly from: number;
  readonly to: number;
  /** `to` is now: what another clock wrote a moment ahead of it counts, too. */
  readonly untilNow?: boolean;
  /** `wfl_…`; absent: all, standalone sagas too. */
  readonly workflowId?: string;
  /** Of that workflow. */
  readonly revision?: number;
}

export interface CountedWindow {
  readonly from: number;
  readonly to: number;
  /** The bound was met: `from` is the oldest of what was counted. */
  readonly shortened: boolean;
}

/** Steps of the newest executions that were created in the window. */
export interface CreatedSteps {
  readonly stepWindow: CountedWindow;
  readonly stepExecutions: number;
  readonly steps: readonly StepGroup[];
  readonly failures: readonly StepFailureGroup[];
}

export interface CreatedStats extends CreatedSteps {
  readonly window: CountedWindow;
  readonly executions: readonly ExecutionGroup[];
  /** Name of each workflow in its newest execution, by id. */
  readonly names: ReadonlyMap<string, string>;
}

export interface TenantActivity extends CreatedSteps {
  readonly window: CountedWindow;
  readonly started: number;
  /** Ended in the window, whenever they were created. */
  readonly ended: readonly EndedGroup[];
  readonly backlog: TenantBacklog;
}

export type EndedGroup = Omit<ExecutionGroup, "workflowId" | "revision">;

export interface LiveReplica {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  /** End of its lease, if that is not renewed before. */
  readonly expiresAt: number;
}

export interface StatsRepository {
  /** Replicas whose lease is valid, oldest first, at most 100. */
  listReplicas(): Promise<readonly LiveReplica[]>;
  /** Of executions created in the window. @throws AppError DEADLINE_EXCEEDED after 5 s */
  readCreated(caller: Caller, selection: StatsSelection): Promise<CreatedStats>;
  /** Since `from`, until now (`to`). @throws AppError DEADLINE_EXCEEDED after 5 s */
  readActivity(caller: Caller, window: Pick<StatsSelection, "from" | "to">): Promise<TenantActivity>;
}

export interface StatsReadBounds {
  /** Newest executions that are counted. */
  readonly executionsMax: number;
  /** Events after which no further execution's steps are read. */
  readonly eventsMax: number;
}

/** At both bounds an answer took 0.5 s on two shared cores, with 200,000 executions stored. */
const boundsDefault: StatsReadBounds = { executionsMax: 20_000, eventsMax: 50_000 };
const replicasMax = 100;
const backlogMax = 10_000;
/** Clocks differ: an id is made by its replica's, the moment of creation by the database's as that replica knows it. */
const clockMarginMs = 60_000;

export function createStatsRepository({ pool }: { readonly pool: Pool }, bounds: StatsReadBounds = boundsDefault): StatsRepository {
  return {
    listReplicas: () =>
      guarded(async () =>
        (await listReplicas(pool, replicasMax)).map(({ id, start_time, expire_time }) => ({
          id,
          startedAt: start_time.getTime(),
          expiresAt: expire_time.getTime(),
        })),
      ),

    async readCreated({ tenantId }, selection) {
      const parameters = parametersOf(tenantId, selection, bounds.executionsMax);
      const { from, to } = selection;
      if (!parameters) return nothing(from, to);
      return guarded(() =>
        inSnapshot(pool, async (client) => {
          const created = await readExecutionGroups(client, parameters);
          const window = windowOf(selection, created.rows >= bounds.executionsMax, created.oldest);
          return {
            window,
            executions: created.groups.map(({ workflowUuid, workflowName: _, newestId: __, state, ...same }) => ({
              ...same,
              workflowId: idOf(workflowUuid),
              state: state as ExecutionStatus,
            })),
            names: namesOf(created.groups),
            ...(await readSteps(client, parameters, window, bounds)),
          };
        }),
      );
    },

    readActivity({ tenantId }, { from, to }) {
      const selection = { from, to, untilNow: true };
      return guarded(() =>
        inSnapshot(pool, async (client) => {
          const edges = await readActivityEdges(client, tenantId, idsBetween(from, to).fromId, isoOf(from), bounds.executionsMax);
          const window = windowBehind(selection, edges);
          const { started, ended } = await readActivity(client, tenantId, idsBetween(window.from, to).fromId, isoOf(window.from));
          const parameters = parametersOf(tenantId, selection, bounds.executionsMax) as PageParameters;
          return {
            window,
            started,
            ended: ended.map(({ state, ...same }) => ({ ...same, state: state as ExecutionStatus, ended: true, step: null })),
            backlog: await readTenantBacklog(client, tenantId, backlogMax),
            ...(await readSteps(client, parameters, selection, bounds)),
          };
        }),
      );
    },
  };
}

async function readSteps(
  client: PoolClient,
  parameters: PageParameters,
  { from, to, shortened = false }: Pick<CountedWindow, "from" | "to"> & Partial<CountedWindow>,
  { executionsMax, eventsMax }: StatsReadBounds,
): Promise<CreatedSteps> {
  const read = await readStepGroups(client, parameters, eventsMax);
  const own = windowOf({ from, to }, read.rows < read.ofRows || read.rows >= executionsMax, read.oldest);
  return {
    stepWindow: { ...own, shortened: own.shortened || shortened },
    stepExecutions: read.rows,
    steps: read.groups.map(({ workflowUuid, state, ...same }) => ({ ...same, workflowId: idOf(workflowUuid), state: state as StepStatus })),
    failures: read.failures.map(({ workflowUuid, ...same }) => ({ ...same, workflowId: idOf(workflowUuid) })),
  };
}

/** One snapshot for all statements, and no plan that scans: statistics of a young table would choose one. */
function inSnapshot<T>(pool: Pool, read: (client: PoolClient) => Promise<T>): Promise<T> {
  return readListing(pool, async (client) => {
    await client.query(
      "set transaction isolation level repeatable read; set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off",
    );
    return read(client);
  });
}

/** Ids that surely hold between them everything created in the window. */
function idsBetween(from: number, to: number): { readonly fromId: string; readonly toId: string } {
  const idAt = (at: number): string => uuidV7(Math.max(0, at), new Uint8Array(10));
  return { fromId: idAt(from - clockMarginMs), toId: idAt(to + clockMarginMs) };
}

function untilOf({ to, untilNow = false }: Pick<StatsSelection, "to" | "untilNow">): number {
  return untilNow ? to + clockMarginMs : to;
}

function windowOf({ from, to }: Pick<CountedWindow, "from" | "to">, boundMet: boolean, oldest: Date | string | null): CountedWindow {
  const shortened = boundMet && oldest !== null;
  return { from: shortened ? new Date(oldest).getTime() : from, to, shortened };
}

/** Begins behind the newest of what is too much. Moments have milliseconds. */
function windowBehind({ from, to }: Pick<CountedWindow, "from" | "to">, { started, ended }: ActivityEdges): CountedWindow {
  const edges = [started, ended].flatMap((edge) => (edge === null ? [] : [edge.getTime() + 1]));
  return { from: Math.max(from, ...edges), to, shortened: edges.length > 0 };
}

function parametersOf(tenantId: string, selection: StatsSelection, rowsMax: number): PageParameters | undefined {
  const { from, workflowId, revision } = selection;
  const to = untilOf(selection);
  const workflowUuid = workflowId === undefined ? undefined : parseId("workflow", workflowId);
  if (workflowId !== undefined && workflowUuid === undefined) return undefined;
  return { tenantId, from: isoOf(from), to: isoOf(to), ...idsBetween(from, to), rowsMax, workflowUuid, revision };
}

function idOf(workflowUuid: string | null): string {
  return workflowUuid === null ? "" : formatId("workflow", workflowUuid);
}

function namesOf(groups: readonly ExecutionGroupRow[]): Map<string, string> {
  const byAge = groups.toSorted((a, b) => (a.newestId < b.newestId ? -1 : 1));
  return new Map(byAge.map(({ workflowUuid, workflowName }) => [idOf(workflowUuid), workflowUuid === null ? "" : workflowName]));
}

function nothing(from: number, to: number): CreatedStats {
  const window = { from, to, shortened: false };
  return { window, executions: [], names: new Map(), stepWindow: window, stepExecutions: 0, steps: [], failures: [] };
}

/**
 * How many executions a replica claims for each tenant in one round, when several have work that is due.
 *
 * Every tenant gets its turn in every round, with a share by weight and a cap, so one that has a million executions due
 * delays the others by one round and not by a million. When there is no place for all, the next round begins where this
 * one stopped.
 */
export interface DueTenant {
  readonly tenantId: string;
  /** At least 1. */
  readonly weight: number;
}

export interface ClaimShare {
  readonly tenantId: string;
  readonly rows: number;
}

export interface RoundLimits {
  /** Executions this replica has place for. */
  readonly room: number;
  /** Executions of one round. */
  readonly roundRowsMax: number;
  /** Executions of one tenant in a round. */
  readonly tenantRowsMax: number;
  /** Tenants of one round: each is a statement of its own. */
  readonly tenantsMax: number;
}

/** `after` is the tenant that was served last, or empty; the turn goes by tenant id from there. Never more than `room` in all. */
export function claimShares(due: readonly DueTenant[], after: string, { room, roundRowsMax, tenantRowsMax, tenantsMax }: RoundLimits): ClaimShare[] {
  const ordered = due.toSorted((a, b) => (a.tenantId < b.tenantId ? -1 : 1));
  const start = ordered.findIndex(({ tenantId }) => tenantId > after);
  const turn = (start > 0 ? [...ordered.slice(start), ...ordered.slice(0, start)] : ordered).slice(0, tenantsMax);
  const weights = turn.reduce((sum, { weight }) => sum + Math.max(1, weight), 0);
  const budget = Math.min(room, roundRowsMax);
  const shares: ClaimShare[] = [];
  let left = room;
  for (const { tenantId, weight } of turn) {
    const share = Math.max(1, Math.floor((budget * Math.max(1, weight)) / weights));
    const rows = Math.min(share, tenantRowsMax, left);
    if (rows <= 0) break;
    shares.push({ tenantId, rows });
    left -= rows;
  }
  return shares;
}

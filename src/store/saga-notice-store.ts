/** Notices to those who started sagas, as the engine sees them. */
import type { Pool } from "pg";
import { formatId, parseId } from "../base/ids.ts";
import { claimNotices, settleNotice, tenantsWithNotices } from "./sql/saga-notices.ts";

export interface SagaNotice {
  readonly tenantId: string;
  readonly executionId: string;
  /** From 1. */
  readonly attempt: number;
}

export interface SagaNoticeStore {
  /** Takes due ones, at most `rowsMax` for each tenant; each is due again after `putOffMs` unless it is settled. */
  claim(rowsMax: number, putOffMs: number): Promise<readonly SagaNotice[]>;
  /** It is tried again in `againMs`, or done. */
  settle(notice: SagaNotice, againMs: number | undefined): Promise<void>;
}

export function createSagaNoticeStore(pool: Pool): SagaNoticeStore {
  return {
    async claim(rowsMax, putOffMs) {
      const notices: SagaNotice[] = [];
      for (const tenantId of await tenantsWithNotices(pool)) {
        const rows = await claimNotices(pool, tenantId, rowsMax, putOffMs);
        notices.push(...rows.map(({ id, attempt }) => ({ tenantId, executionId: formatId("execution", id), attempt })));
      }
      return notices;
    },
    async settle({ tenantId, executionId, attempt }, againMs) {
      const id = parseId("execution", executionId);
      if (id !== undefined) await settleNotice(pool, tenantId, { id, attempt }, againMs);
    },
  };
}

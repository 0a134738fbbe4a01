/** Paging as every List rpc does it: sizes, and tokens bound to tenant, method and filter. */
import type { Caller } from "../base/caller.ts";
import type { RpcParts } from "./parts.ts";
import { decodePageToken, encodePageToken, listingHash, pageSizeOf } from "./wire/page-token.ts";

export interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
  /** Whatever else decides which rows there are; a token of another listing is refused. */
  readonly shape?: readonly (string | number | boolean)[];
}

/** Reads one page; `read` gets the id after which it starts. */
export async function listPage<Item>(
  parts: Pick<RpcParts, "pageTokenKey">,
  caller: Caller,
  method: string,
  request: PageRequest,
  read: (page: {
    readonly pageSize: number;
    readonly afterId?: string;
  }) => Promise<{ readonly items: readonly Item[]; readonly nextAfterId: string | undefined }>,
): Promise<{ readonly items: readonly Item[]; readonly nextPageToken: string }> {
  const bound = { tenantId: caller.tenantId, method, filterHash: listingHash(...(request.shape ?? [])) };
  const afterId = decodePageToken(parts.pageTokenKey, request.pageToken, bound);
  const page = await read({ pageSize: pageSizeOf(request.pageSize), ...(afterId === undefined ? {} : { afterId }) });
  const nextPageToken = page.nextAfterId === undefined ? "" : encodePageToken(parts.pageTokenKey, { ...bound, after: page.nextAfterId });
  return { items: page.items, nextPageToken };
}

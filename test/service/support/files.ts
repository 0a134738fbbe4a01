/** Stored files through FileService, whole. */
import type { Clients } from "./connect-client.ts";

/** Gives the id. */
export async function uploadFile({ files }: Clients, name: string, data: Uint8Array): Promise<string> {
  const { file } = await files.createFile({ name });
  const fileId = file?.id ?? "";
  if (data.length > 0) await files.appendFile({ fileId, offsetBytes: 0n, data });
  await files.completeFile({ fileId });
  return fileId;
}

export async function downloadFile({ files }: Clients, fileId: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const { item } of files.readFile({ fileId })) if (item.case === "data") pieces.push(item.value);
  return Buffer.concat(pieces);
}

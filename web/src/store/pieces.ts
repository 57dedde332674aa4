/**
 * A file in pieces: where each lies, and what a network that does not keep its word may cost.
 *
 * Pieces are fetched side by side and kept one by one, so that a visit which ends early, or a line
 * that breaks, costs a piece of each connection and no more. Pure.
 */

/**
 * Small enough to be fetched again without tears, large enough that asking for it costs nothing.
 * Our server hashes a range of up to 16 MiB for whoever wants to check it. An export for hosts that
 * take small files only cuts large ones like this (`transom_server/exchange/blob_pieces.py`).
 */
export const PIECE_BYTES = 4 * 1024 * 1024;

export interface Piece {
  index: number;
  /** Offset of its first byte. */
  start: number;
  /** Offset after its last byte. */
  end: number;
}

/** The pieces of a file of so many bytes, in order; the last one may be short. */
export function piecesOf(size: number, pieceBytes: number = PIECE_BYTES): Piece[] {
  const pieces: Piece[] = [];
  for (let start = 0; start < size; start += pieceBytes) {
    pieces.push({ index: pieces.length, start, end: Math.min(size, start + pieceBytes) });
  }
  return pieces;
}

/** Where a piece is that is a file of its own. */
export function pieceAddress(file: string, { index }: Piece): string {
  return `${file}.${String(index).padStart(3, "0")}`;
}

/** The sha256 of a `Content-Digest` header (RFC 9530), null where it names none that we can read. */
export function contentDigest(header: string | null): string | null {
  return /(?:^|[,\s])sha-256=:([A-Za-z0-9+/]{43}=):/.exec(header ?? "")?.[1] ?? null;
}

/** A hash as that header spells it. */
export function base64Of(hash: Uint8Array): string {
  return btoa(String.fromCharCode(...hash));
}

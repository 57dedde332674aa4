/** Before the address of a page's script: the lock that a page holds for its life, see `sw/precache.ts`. */
export const PAGE_LOCK = "transom-page ";

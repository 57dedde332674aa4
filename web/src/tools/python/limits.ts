/** Limits of a program and of what it may say, each with its reason. */

/** Longer than any calculation that an answer waits for; an endless loop ends here. */
export const RUN_SECONDS = 30;

/** 13 megabytes to start, and a phone compiles 10 of them. */
export const START_SECONDS = 120;

/** Half of what the smallest phones let a page have; Python itself takes 40 MiB of it. */
export const MEMORY_BYTES = 512 * 1024 * 1024;

/** Programs of models have some thousand characters; their context window ends before this. */
export const MAX_CODE_CHARACTERS = 100_000;

/**
 * Of all a program says. The sandbox itself stops at 14,000 (programs.py): more comes only from a
 * program that has taken over its worker, which is then ended.
 */
export const MAX_TEXT_CHARACTERS = 20_000;

/** As programs.py has it. */
export const MAX_IMAGES = 8;

/** 2 MiB in base64: pictures are kept with the conversation. */
export const MAX_IMAGE_CHARACTERS = 4 * Math.ceil((2 * 1024 * 1024) / 3);

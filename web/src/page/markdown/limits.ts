/** How much of an answer is shown in which manner. Each is the answer of a model that may be broken or hostile. */

/**
 * Characters of a block that is read as markdown; a longer one is shown as it was written. Ten
 * times what a long paragraph has, and what marked still reads in a few milliseconds when every
 * character opens something.
 */
export const MOST_BLOCK_CHARACTERS = 32_768;

/**
 * Marks of a block that is read as markdown; one with more is shown as it was written. marked reads
 * each emphasis within an emphasis anew: two thousand take it a tenth of a second, ten thousand
 * eight seconds. The densest prose has a few hundred.
 */
export const MOST_MARKS = 2000;

/**
 * Characters of an open block that is shown anew in each frame; a longer one only when it has grown
 * by an eighth, with what came meanwhile behind it as plain text. So all its frames together cost
 * what nine times the block costs, however long it is.
 */
export const MOST_CHARACTERS_A_FRAME = 3072;
export const GROWTH = 1 / 8;

/**
 * Characters of a growing paragraph that are read in each frame: what is before them is settled as
 * soon as nothing in it is open. Some eight lines, which take half a millisecond.
 */
export const MOST_UNSETTLED_CHARACTERS = 600;

/**
 * Quotes and lists in each other; deeper ones are shown as they were written. A phone has no room
 * for more, and each is a call within a call for whoever reads or lays them out.
 */
export const MOST_NESTING = 16;

/** Lines of code, and characters of plain text, that are laid out in one piece: only the last piece is laid out again when more comes. */
export const LINES_A_PIECE = 200;
export const CHARACTERS_A_PIECE = 4096;

/** Characters of code that is coloured: 50 kB take highlight.js about 50 ms, in one piece, on this page's thread. */
export const MOST_COLOURED_CHARACTERS = 50_000;

/** Characters of code that is coloured while an answer streams: more would be seen in its frames. */
export const MOST_COLOURED_WHILE_STREAMING = 4000;

/** Rows of a table that are shown until somebody asks for all of them. */
export const MOST_TABLE_ROWS = 100;

/** Cells that are shown then, in as many steps as it takes: 100,000 cells are 40 MB of page. */
export const MOST_TABLE_CELLS = 100_000;

/** Characters of a formula; the longest in textbooks have some hundred. */
export const MOST_FORMULA_CHARACTERS = 4000;

/** Formulas that are kept ready; each is a small tree. */
export const MOST_FORMULAS_KEPT = 500;

/** Characters between the brackets of a link's label (CommonMark 6.3). */
export const MOST_LABEL_CHARACTERS = 999;

/** Link definitions of one answer: each may change the blocks before it. */
export const MOST_DEFINITIONS = 200;

/** Milliseconds of one turn in which blocks are shown; what is left comes in the next. Under a quarter of a frame at 60 Hz. */
export const MOST_TURN_MILLISECONDS = 3;

/** Stands in for modules that libraries ask for and never use here (`vite.config.ts`). */
export default {};

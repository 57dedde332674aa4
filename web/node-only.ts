/** Stands in for the Node modules that tvmjs asks for only when it runs in Node. */
export default {};

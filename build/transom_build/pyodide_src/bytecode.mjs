// Compiles Python files with the very interpreter that will run them: Pyodide's, here in Node.
//
//   node bytecode.mjs <folder of Pyodide> <folder of sources> <optimize>
//
// Writes `name.pyc` beside each `name.py`.
import { pathToFileURL } from "node:url";

const [pyodideFolder, sources, optimize] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${pyodideFolder}/pyodide.mjs`).href);
// Sets of constants are written in the order of their hashes.
const python = await loadPyodide({ env: { PYTHONHASHSEED: "0" } });
python.FS.mkdirTree("/sources");
python.mountNodeFS("/sources", sources);
python.globals.set("optimize", Number(optimize));
const problem = python.runPython(`
import pathlib, py_compile

root = pathlib.Path("/sources")
problem = ""
for file in sorted(root.rglob("*.py")):
    try:
        py_compile.compile(
            str(file),
            cfile=str(file) + "c",
            # In tracebacks: the path inside of its archive.
            dfile=file.relative_to(root).as_posix(),
            doraise=True,
            optimize=optimize,
            # No times in it; and nobody changes sources that are not there.
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    except py_compile.PyCompileError as error:
        problem = " ".join(str(error).split())
        break
problem
`);
if (problem !== "") {
  console.error(problem);
  process.exit(1);
}

/** Runs the program of the page in Pyodide, with the `transom` package; see README.md beside it. */
import { loadPyodide } from "./pyodide/pyodide.mjs";

const program = document.getElementById("program");
const output = document.getElementById("output");
const button = document.getElementById("run");

function write(text) {
  output.textContent += text;
}

const pyodide = await loadPyodide({ indexURL: new URL("pyodide/", import.meta.url).href });
const decoder = new TextDecoder();
for (const stream of ["setStdout", "setStderr"]) {
  pyodide[stream]({
    write: (bytes) => {
      write(decoder.decode(bytes, { stream: true }));
      return bytes.length;
    },
  });
}
// All wheels of the folder: `transom`, and what else the program wants, as `openai`.
const wheels = await (await fetch("wheels/index.json")).json();
for (const name of wheels) {
  const wheel = await fetch(`wheels/${name}`);
  pyodide.unpackArchive(new Uint8Array(await wheel.arrayBuffer()), "wheel");
}

async function run() {
  button.disabled = true;
  output.textContent = "";
  try {
    await pyodide.runPythonAsync(program.value);
    // Python keeps a line back until it is whole.
    pyodide.runPython("import sys; sys.stdout.flush()");
  } catch (error) {
    write(error.message);
  } finally {
    button.disabled = false;
  }
}

button.addEventListener("click", run);
output.textContent = "";
button.disabled = false;

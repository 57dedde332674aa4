"""The API core: pure Python without I/O, for Flask and Pyodide alike."""

"""The tests of capgrid: laws, promised numbers, and one change in one place.

Folders are the rooms of `pipeline/`: what a room promises is tested in the folder of its name. Besides:

- `oracle/`: the formulas written a second time in plain Python, and figures that were put on record.
- `system/`: the command as users and attackers meet it: input, faults, browsers, spreadsheets.
- `house/`: what holds of the code and the documents themselves.

Shared, in `conftest.py`: `small`, a finished run that nobody changes, and `own_small`, a copy to spoil; `own_catalogs`,
a copy of the catalogs; `tiny`, a grid as a file; `capgrid`, the command line in this process; and `shared`, through
which the workers of `pytest -n` fill a folder once and all read it: whoever needs a run of his own begins with a copy.
`once.py` lets a session make once what equal input makes: catalogs, checked frames, books, expressions. A test that
makes formulas call something else asks for `formulas_anew()`. `support.py` has axes, rows and facts of small grids.
"""

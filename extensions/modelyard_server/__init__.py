"""The model server: one published model version behind HTTP.

Belongs here: loading a package, checking inputs, predicting, the protocols, and deciding who may call.
Does not belong here: anything that knows of other endpoints, of the hub, or of training. Importing the package draws in
neither mlflow, pandas, scikit-learn nor torch; a flavor imports what it needs when it is loaded.
"""

"""Why a notebook server does not run yet, one module per kind of cause.

Pure: what was seen goes in, a Diagnosis comes out.
"""

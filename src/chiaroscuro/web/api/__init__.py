"""Addresses to calls. Every answer is JSON, a picture or a file; errors are sentences.

Functions that are not ``async`` run in a thread.
"""

from chiaroscuro.web.api import explanations, files, jobs, pictures, study

ROUTES = [
    *pictures.ROUTES,
    *explanations.ROUTES,
    *jobs.ROUTES,
    *files.ROUTES,
    *study.ROUTES,
]

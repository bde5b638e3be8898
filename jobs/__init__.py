"""The heavy steps of a night, one file each: `python -m jobs.<step> --run-date 2011-11-30`, with or without Airflow."""

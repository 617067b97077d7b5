# ISO 8601, to the second: operators put logs beside it.
DATETIME_FORMAT = "Y-m-d H:i:s"

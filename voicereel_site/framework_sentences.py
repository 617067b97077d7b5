"""What Django REST framework and Python say in refusals of ours.

The framework's own Korean is for ``ko_KR`` alone, which is not how Django calls the language; here its
sentences are named for our catalogue.
"""

from django.utils.translation import gettext_noop

# Of fields, and of requests as a whole: looked up by the framework itself.
LOOKED_UP = (
    gettext_noop("This field is required."),
    gettext_noop("This field may not be null."),
    gettext_noop("This field may not be blank."),
    gettext_noop("This list may not be empty."),
    gettext_noop("This dictionary may not be empty."),
    gettext_noop("Must be a valid boolean."),
    gettext_noop("Not a valid string."),
    gettext_noop("Ensure this field has no more than {max_length} characters."),
    gettext_noop("Ensure this field has at least {min_length} characters."),
    gettext_noop("Ensure this field has no more than {max_length} elements."),
    gettext_noop("Ensure this field has at least {min_length} elements."),
    gettext_noop("Ensure this value is less than or equal to {max_value}."),
    gettext_noop("Ensure this value is greater than or equal to {min_value}."),
    gettext_noop("Ensure this filename has at most {max_length} characters (it has {length})."),
    gettext_noop("String value too large."),
    gettext_noop("Integer value too large to convert to float"),
    gettext_noop("A valid integer is required."),
    gettext_noop("A valid number is required."),
    gettext_noop("Enter a valid email address."),
    gettext_noop("Enter a valid URL."),
    gettext_noop("This value does not match the required pattern."),
    gettext_noop("Datetime has wrong format. Use one of these formats instead: {format}."),
    gettext_noop("Expected a datetime but got a date."),
    gettext_noop('Invalid datetime for the timezone "{timezone}".'),
    gettext_noop("Datetime value out of range."),
    gettext_noop('"{input}" is not a valid choice.'),
    gettext_noop('Expected a list of items but got type "{input_type}".'),
    gettext_noop('Expected a dictionary of items but got type "{input_type}".'),
    gettext_noop("Invalid data. Expected a dictionary, but got {datatype}."),
    gettext_noop("No file was submitted."),
    gettext_noop("The submitted data was not a file. Check the encoding type on the form."),
    gettext_noop("No filename could be determined."),
    gettext_noop("The submitted file is empty."),
    gettext_noop("Surrogate characters are not allowed: U+{code_point:X}."),
    gettext_noop("Authentication credentials were not provided."),
    gettext_noop("Incorrect authentication credentials."),
    gettext_noop('Method "{method}" not allowed.'),
    gettext_noop('Unsupported media type "{media_type}" in request.'),
    gettext_noop("Malformed request."),
)

# Said in English alone: recognised (voicereel_site.stored_text).
NOT_JSON = gettext_noop("JSON parse error - %(error)s")
NOT_A_FORM = gettext_noop("Multipart form parse error - %(error)s")
NO_CHARSET = gettext_noop('Unsupported charset "%(charset)s" in request Content-Type header.')
NO_BOUNDARY = gettext_noop("Invalid boundary in multipart: %(boundary)s")
NOT_UTF_8 = gettext_noop(
    "'utf-8' codec can't decode byte %(byte)s in position %(position)s: %(reason)s"
)
NOT_UTF_8_BYTES = gettext_noop(
    "'utf-8' codec can't decode bytes in position %(positions)s: %(reason)s"
)
BAD_START_BYTE = gettext_noop("invalid start byte")
BAD_NEXT_BYTE = gettext_noop("invalid continuation byte")
CUT_OFF = gettext_noop("unexpected end of data")
AT_LINE = gettext_noop("%(error)s: line %(line)s column %(column)s (char %(char)s)")
NO_VALUE = gettext_noop("Expecting value")
NO_NAME = gettext_noop("Expecting property name enclosed in double quotes")
TRAILING_COMMA = gettext_noop("Illegal trailing comma before end of %(what)s")
NO_DELIMITER = gettext_noop("Expecting '%(delimiter)s' delimiter")
NO_END = gettext_noop("Unterminated string starting at")
EXTRA_DATA = gettext_noop("Extra data")
CONTROL_CHARACTER = gettext_noop("Invalid control character at")
BAD_ESCAPE = gettext_noop("Invalid \\escape")
BAD_UNICODE_ESCAPE = gettext_noop("Invalid \\uXXXX escape")
NOT_FINITE = gettext_noop("Out of range float values are not JSON compliant: %(value)s")

# MIME::Parser of MIME-tools, which amavis, MIMEDefang and Sympa use. It looks for uuencode, too.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Loop;
use MIME::Parser;
use MIME::WordDecoder;

my $parser = MIME::Parser->new;
$parser->output_to_core(1);
$parser->tmp_to_core(1);
$parser->extract_uuencode(1);

sub leaves {
    my ($entity) = @_;
    return map { leaves($_) } $entity->parts if $entity->parts;
    my $body = $entity->bodyhandle;
    my $head = $entity->head;
    my $attached = ($head->mime_attr('content-disposition') // '') =~ /^\s*attachment/i;
    my $name = $head->recommended_filename // '';
    return Loop::file($entity->effective_type, $attached, $name, $body ? $body->as_string : '');
}

Loop::run(sub { leaves($parser->parse_data($_[0])) });
